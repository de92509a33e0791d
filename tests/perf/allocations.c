/* Counts what Python takes from the system in pieces of at least `least` bytes.
 *
 * A new piece of a megabyte costs a page fault for each 4 KiB of it, so where the data passes there should be none.
 * Python can't tell which function makes one: `bytes + bytes`, `os.pread` and `array * n` all do. But everything above
 * 512 bytes goes through its raw allocator, and that can be replaced while it runs (PyMem_SetAllocator). The functions
 * are called with and without the interpreter's lock, so they are in C. Python.h isn't needed: this is its stable part.
 */

#include <stddef.h>

typedef struct {
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t count, size_t size);
    void *(*realloc)(void *context, void *piece, size_t size);
    void (*free)(void *context, void *piece);
} Allocator;

enum { RAW = 0 };

extern void PyMem_GetAllocator(int domain, Allocator *allocator);
extern void PyMem_SetAllocator(int domain, Allocator *allocator);

static Allocator before;
static size_t least;
static long count;

static void note(size_t size)
{
    if (size >= least)
        __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
}

static void *counted_malloc(void *context, size_t size)
{
    note(size);
    return before.malloc(context, size);
}

static void *counted_calloc(void *context, size_t number, size_t size)
{
    note(number * size);
    return before.calloc(context, number, size);
}

static void *counted_realloc(void *context, void *piece, size_t size)
{
    note(size);
    return before.realloc(context, piece, size);
}

void start(size_t size)
{
    Allocator counted;

    least = size;
    count = 0;
    PyMem_GetAllocator(RAW, &before);
    counted = before;
    counted.malloc = counted_malloc;
    counted.calloc = counted_calloc;
    counted.realloc = counted_realloc;
    PyMem_SetAllocator(RAW, &counted);
}

long counted(void)
{
    return __atomic_load_n(&count, __ATOMIC_RELAXED);
}

void stop(void)
{
    PyMem_SetAllocator(RAW, &before);
}
