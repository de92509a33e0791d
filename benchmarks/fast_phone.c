/*
 * A phone that is as fast as its link, for the benchmark and for nothing else.
 *
 *     fast_phone DIRECTORY RATE SIZE      DIRECTORY: a mounted FunctionFS · bytes per second · bytes of the file
 *
 * What real responders do besides sending bytes would hide what the host costs. So this one computes nothing: it has
 * one file, `large.bin`, whose contents repeat a pattern, and it takes files whose contents are that pattern. It sends
 * and takes at RATE, and not faster, so that one CPU is left with time for the host.
 *
 * Invariant: what is written by SendPartialObject is compared with the pattern. A byte that isn't right is answered by
 * General_Error. SendObject takes anything: it measures the raw link.
 *
 * Sources: PIMA 15740 and MTP 1.1 for the datasets; AOSP's MtpServer for operations 0x95C1 to 0x95C5; the kernel's
 * Documentation/usb/functionfs.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/usb/functionfs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATTERN 1048573u /* bytes: a prime, so that a piece in the wrong place is noticed */
#define CHUNK (256u << 10) /* bytes per call: the kernel allocates as much at once */
#define STORAGE 0x00010001u
#define FILE_HANDLE 1u
#define NEW_HANDLE 2u

enum { COMMAND = 1, DATA = 2, RESPONSE = 3 };
enum {
    OK = 0x2001, GENERAL_ERROR = 0x2002, NOT_SUPPORTED = 0x2005, INVALID_HANDLE = 0x2009,
};

struct header {
    uint32_t length;
    uint16_t type, code;
    uint32_t transaction;
} __attribute__((packed));

static uint8_t pattern[PATTERN + CHUNK];
static int control, bulk_in, bulk_out;
static double rate;
static uint64_t file_size, new_size;
static int has_new;
static char new_name[256];
static uint8_t buffer[CHUNK];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Waits until as many bytes may have gone over the link since `started`. */
static void pace(double started, uint64_t bytes)
{
    double left = started + bytes / rate - now();
    if (left > 1e-3) {
        struct timespec t = {(time_t)left, (long)((left - (time_t)left) * 1e9)};
        nanosleep(&t, NULL);
    }
}

static void send_all(const void *data, size_t size)
{
    if (write(bulk_in, data, size) != (ssize_t)size)
        die("bulk in");
}

static void respond(const struct header *command, uint16_t code, int count, const uint32_t *parameters)
{
    struct {
        struct header header;
        uint32_t parameters[5];
    } __attribute__((packed)) answer = {{12 + 4 * count, RESPONSE, code, command->transaction}, {0}};
    memcpy(answer.parameters, parameters, 4 * count);
    send_all(&answer, answer.header.length);
}

static uint16_t max_packet = 1024;

static void send_dataset(const struct header *command, const uint8_t *data, size_t size)
{
    static uint8_t out[4096];
    struct header header = {12 + size, DATA, command->code, command->transaction};
    memcpy(out, &header, 12);
    memcpy(out + 12, data, size);
    send_all(out, 12 + size);
    if ((12 + size) % max_packet == 0)
        send_all(out, 0);
    respond(command, OK, 0, NULL);
}

/* Sends `size` bytes of the file from `offset`; the header goes along with the first piece. */
static void send_contents(const struct header *command, uint64_t offset, uint64_t size, int counted)
{
    double started = now();
    uint64_t sent = 0, whole = 12 + size;
    struct header header = {whole > UINT32_MAX ? UINT32_MAX : whole, DATA, command->code, command->transaction};
    uint32_t count = size;
    size_t first = size < CHUNK - 12 ? size : CHUNK - 12;
    memcpy(buffer, &header, 12);
    memcpy(buffer + 12, pattern + offset % PATTERN, first);
    send_all(buffer, 12 + first);
    for (sent = first; sent < size;) {
        size_t piece = size - sent < CHUNK ? size - sent : CHUNK;
        pace(started, sent);
        send_all(pattern + (offset + sent) % PATTERN, piece);
        sent += piece;
    }
    if (whole % max_packet == 0)
        send_all(buffer, 0);
    respond(command, OK, counted, &count);
}

/* Takes a data phase of file contents from `offset`; tells whether all of it was the pattern. */
static int take_contents(uint64_t offset, uint64_t *taken)
{
    double started = now();
    uint64_t got = 0;
    int right = 1;
    struct header header = {0, 0, 0, 0};
    for (int first = 1;; first = 0) {
        ssize_t count = read(bulk_out, buffer, CHUNK);
        uint8_t *data = buffer;
        if (count < 0)
            die("bulk out");
        if (first) {
            memcpy(&header, buffer, 12);
            data += 12;
        }
        size_t piece = buffer + count - data;
        right &= memcmp(data, pattern + (offset + got) % PATTERN, piece) == 0;
        got += piece;
        pace(started, got);
        if (count < (ssize_t)CHUNK) /* short, or nothing */
            break;
    }
    *taken = got;
    return right;
}

static size_t put_string(uint8_t *at, const char *text)
{
    size_t length = strlen(text) + 1;
    *at = length;
    for (size_t i = 0; i < length; i++) {
        at[1 + 2 * i] = text[i];
        at[2 + 2 * i] = 0;
    }
    return 1 + 2 * length;
}

static size_t put16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, 2);
    return 2;
}

static size_t put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
    return 4;
}

static size_t put_codes(uint8_t *at, const uint16_t *codes, size_t count)
{
    put32(at, count);
    memcpy(at + 4, codes, 2 * count);
    return 4 + 2 * count;
}

static const uint16_t operations[] = {
    0x1001, 0x1002, 0x1003, 0x1004, 0x1005, 0x1007, 0x1008, 0x1009, 0x100B, 0x100C, 0x100D,
    0x95C1, 0x95C2, 0x95C3, 0x95C4, 0x95C5,
};

static void device_info(const struct header *command)
{
    uint8_t data[512], *at = data;
    at += put16(at, 100);
    at += put32(at, 6);
    at += put16(at, 100);
    at += put_string(at, "microsoft.com: 1.0; android.com: 1.0;");
    at += put16(at, 0);
    at += put_codes(at, operations, sizeof operations / 2);
    at += put32(at, 0); /* events */
    at += put32(at, 0); /* device properties */
    at += put32(at, 0); /* capture formats */
    at += put_codes(at, (const uint16_t[]){0x3000, 0x3001}, 2);
    at += put_string(at, "mtpfs");
    at += put_string(at, "Fast phone");
    at += put_string(at, "1");
    at += put_string(at, "fast");
    send_dataset(command, data, at - data);
}

static void storage_info(const struct header *command)
{
    uint8_t data[128], *at = data;
    uint64_t capacity = 64ull << 30;
    at += put16(at, 3);
    at += put16(at, 2);
    at += put16(at, 0);
    memcpy(at, &capacity, 8), at += 8;
    memcpy(at, &capacity, 8), at += 8;
    at += put32(at, 1u << 30);
    at += put_string(at, "Internal");
    *at++ = 0;
    send_dataset(command, data, at - data);
}

static void object_info(const struct header *command, uint32_t handle)
{
    uint8_t data[640], *at = data + 52;
    uint64_t size = handle == FILE_HANDLE ? file_size : new_size;
    memset(data, 0, 52);
    put32(data, STORAGE);
    put16(data + 4, 0x3000);
    put32(data + 8, size > UINT32_MAX ? UINT32_MAX : size);
    at += put_string(at, handle == FILE_HANDLE ? "large.bin" : new_name);
    at += put_string(at, "20260101T120000");
    at += put_string(at, "20260101T120000");
    *at++ = 0;
    send_dataset(command, data, at - data);
}

static void take_object_info(const struct header *command)
{
    uint32_t created[3] = {STORAGE, 0, NEW_HANDLE};
    ssize_t count = read(bulk_out, buffer, CHUNK);
    uint8_t *dataset = buffer + 12;
    uint32_t size;
    if (count < 12 + 53)
        die("ObjectInfo");
    memcpy(&size, dataset + 8, 4);
    for (size_t i = 0; i < dataset[52]; i++)
        new_name[i] = dataset[53 + 2 * i];
    new_size = size;
    has_new = 1;
    respond(command, OK, 3, created);
}

static void handles(const struct header *command, uint32_t parent)
{
    uint32_t list[3] = {1 + has_new, FILE_HANDLE, NEW_HANDLE};
    if (parent != UINT32_MAX && parent != 0)
        list[0] = 0;
    send_dataset(command, (uint8_t *)list, 4 + 4 * list[0]);
}

static int known(uint32_t handle)
{
    return handle == FILE_HANDLE || (handle == NEW_HANDLE && has_new);
}

static void serve(const struct header *command, const uint32_t *p)
{
    uint64_t offset = p[1] | (uint64_t)p[2] << 32, size, taken;
    uint32_t count;
    switch (command->code) {
    case 0x1001: device_info(command); return;
    case 0x1002: case 0x1003: case 0x95C4: case 0x95C5: respond(command, OK, 0, NULL); return;
    case 0x1004: send_dataset(command, (uint8_t *)(uint32_t[]){1, STORAGE}, 8); return;
    case 0x1005: storage_info(command); return;
    case 0x1007: handles(command, p[2]); return;
    }
    if (command->code == 0x100C) {
        take_object_info(command);
        return;
    }
    if (command->code == 0x100D) {
        take_contents(0, &taken);
        respond(command, taken == new_size ? OK : GENERAL_ERROR, 0, NULL);
        return;
    }
    if (!known(p[0])) {
        respond(command, INVALID_HANDLE, 0, NULL);
        return;
    }
    size = p[0] == FILE_HANDLE ? file_size : new_size;
    switch (command->code) {
    case 0x1008: object_info(command, p[0]); return;
    case 0x1009: send_contents(command, 0, size, 0); return;
    case 0x100B: has_new = has_new && p[0] != NEW_HANDLE; respond(command, OK, 0, NULL); return;
    case 0x95C1:
        size = offset < size ? size - offset : 0;
        send_contents(command, offset, p[3] < size ? p[3] : size, 1);
        return;
    case 0x95C2:
        if (!take_contents(offset, &taken) || taken != p[3]) {
            respond(command, GENERAL_ERROR, 0, NULL);
            return;
        }
        new_size = offset + taken > new_size ? offset + taken : new_size;
        count = taken;
        respond(command, OK, 1, &count);
        return;
    case 0x95C3: new_size = offset; respond(command, OK, 0, NULL); return;
    default: respond(command, NOT_SUPPORTED, 0, NULL);
    }
}

static void *transactions(void *unused)
{
    for (;;) {
        struct {
            struct header header;
            uint32_t parameters[5];
        } __attribute__((packed)) command = {{0, 0, 0, 0}, {0}};
        ssize_t count = read(bulk_out, buffer, CHUNK);
        if (count < 0 && errno != ESHUTDOWN)
            die("command");
        if (count < 12)
            continue; /* a packet of nothing ends what came before */
        memcpy(&command, buffer, (size_t)count < sizeof command ? (size_t)count : sizeof command);
        uint32_t parameters[5];
        memcpy(parameters, command.parameters, sizeof parameters);
        serve(&command.header, parameters);
    }
    return unused;
}

#define ENDPOINT(address, kind, size, every) \
    {.bLength = USB_DT_ENDPOINT_SIZE, .bDescriptorType = USB_DT_ENDPOINT, .bEndpointAddress = address, \
     .bmAttributes = kind, .wMaxPacketSize = size, .bInterval = every}
#define COMPANION(burst, bytes) \
    {.bLength = USB_DT_SS_EP_COMP_SIZE, .bDescriptorType = USB_DT_SS_ENDPOINT_COMP, .bMaxBurst = burst, \
     .wBytesPerInterval = bytes}
#define INTERFACE \
    {.bLength = USB_DT_INTERFACE_SIZE, .bDescriptorType = USB_DT_INTERFACE, .bNumEndpoints = 3, \
     .bInterfaceClass = 6, .bInterfaceSubClass = 1, .bInterfaceProtocol = 1, .iInterface = 1}

struct plain {
    struct usb_interface_descriptor interface;
    struct usb_endpoint_descriptor_no_audio in, out, events;
} __attribute__((packed));

static const struct {
    struct usb_functionfs_descs_head_v2 header;
    __le32 full_count, high_count, super_count;
    struct plain full, high;
    struct {
        struct usb_interface_descriptor interface;
        struct usb_endpoint_descriptor_no_audio in;
        struct usb_ss_ep_comp_descriptor in_companion;
        struct usb_endpoint_descriptor_no_audio out;
        struct usb_ss_ep_comp_descriptor out_companion;
        struct usb_endpoint_descriptor_no_audio events;
        struct usb_ss_ep_comp_descriptor events_companion;
    } __attribute__((packed)) super;
} __attribute__((packed)) descriptors = {
    {FUNCTIONFS_DESCRIPTORS_MAGIC_V2, sizeof descriptors,
     FUNCTIONFS_HAS_FS_DESC | FUNCTIONFS_HAS_HS_DESC | FUNCTIONFS_HAS_SS_DESC},
    4, 4, 7,
    {INTERFACE, ENDPOINT(0x81, 2, 64, 0), ENDPOINT(0x02, 2, 64, 0), ENDPOINT(0x83, 3, 28, 6)},
    {INTERFACE, ENDPOINT(0x81, 2, 512, 0), ENDPOINT(0x02, 2, 512, 0), ENDPOINT(0x83, 3, 28, 6)},
    {INTERFACE, ENDPOINT(0x81, 2, 1024, 0), COMPANION(15, 0), ENDPOINT(0x02, 2, 1024, 0), COMPANION(15, 0),
     ENDPOINT(0x83, 3, 28, 6), COMPANION(0, 28)},
};

static const struct {
    struct usb_functionfs_strings_head header;
    __le16 language;
    char interface[4];
} __attribute__((packed)) strings = {
    {FUNCTIONFS_STRINGS_MAGIC, sizeof strings, 1, 1}, 0x409, "MTP",
};

static int open_in(const char *directory, const char *name, int flags)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int file = open(path, flags);
    if (file < 0)
        die(path);
    return file;
}

int main(int count, char **words)
{
    if (count != 4) {
        fprintf(stderr, "usage: fast_phone DIRECTORY RATE SIZE\n");
        return 2;
    }
    rate = atof(words[2]);
    file_size = strtoull(words[3], NULL, 10);
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (i % PATTERN * 2654435761u) >> 24;
    control = open_in(words[1], "ep0", O_RDWR);
    if (write(control, &descriptors, sizeof descriptors) < 0 || write(control, &strings, sizeof strings) < 0)
        die("descriptors");
    bulk_in = open_in(words[1], "ep1", O_RDWR);
    bulk_out = open_in(words[1], "ep2", O_RDWR);
    pthread_t thread;
    int started = 0;
    for (;;) {
        struct usb_functionfs_event event;
        if (read(control, &event, sizeof event) != sizeof event)
            die("ep0");
        if (event.type == FUNCTIONFS_ENABLE && !started)
            started = !pthread_create(&thread, NULL, transactions, NULL);
        if (event.type == FUNCTIONFS_SETUP) { /* no class request is needed here: stall */
            if (event.u.setup.bRequestType & 0x80)
                (void)!read(control, NULL, 0);
            else
                (void)!write(control, NULL, 0);
        }
    }
}
