"""Hypothesis strategies for everything that the codec can express."""

from __future__ import annotations

from hypothesis import strategies as st

from mtpfs.protocol.codes import ContainerType, DataType
from mtpfs.protocol.containers import Container
from mtpfs.protocol.datasets import DeviceInfo, ObjectInfo, PropertyDescription, PropertyElement, StorageInfo
from mtpfs.protocol.wire import MAX_STRING_UNITS, Value, utf16_units

u8 = st.integers(0, 2**8 - 1)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)

_characters = (
    st.characters(exclude_characters="\0")
    | st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"])
    | st.sampled_from("😀é")
)


def _is_utf16(text: str) -> bool:
    """Tell whether `text` survives UTF-16: two lone surrogates may meet and become one character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass") == text


texts = st.text(_characters, max_size=MAX_STRING_UNITS).filter(
    lambda text: utf16_units(text) <= MAX_STRING_UNITS and _is_utf16(text)
)
names = st.text(_characters, min_size=1, max_size=40).filter(_is_utf16)

scalar_types = st.sampled_from([t for t in DataType if t & 0x4000 == 0 and t is not DataType.UNDEF])
array_types = st.sampled_from([t for t in DataType if t & 0x4000 and t is not DataType.STR])
data_types = st.sampled_from(list(DataType))


def integers_of(data_type: int) -> st.SearchStrategy[int]:
    """Integers of a scalar type, or the elements of an array type."""
    bits = 8 << ((data_type & 0xF) - 1) // 2
    return (
        st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data_type & 1 else st.integers(0, 2**bits - 1)
    )


def values_of(data_type: int) -> st.SearchStrategy[Value]:
    if data_type == DataType.UNDEF:
        return st.none()
    if data_type == DataType.STR:
        return texts
    if data_type & 0x4000:
        return st.lists(integers_of(data_type), max_size=20).map(tuple)
    return integers_of(data_type)


typed_values = data_types.flatmap(lambda t: st.tuples(st.just(t), values_of(t)))

codes = st.lists(u16, max_size=20).map(tuple)
device_infos = st.builds(
    DeviceInfo, u16, u32, u16, texts, u16, codes, codes, codes, codes, codes, texts, texts, texts, texts
)
storage_infos = st.builds(StorageInfo, u16, u16, u16, u64, u64, u32, texts, texts)


def _object_infos(*, wide: bool) -> st.SearchStrategy[ObjectInfo]:
    return st.builds(
        ObjectInfo,
        storage_id=u32,
        object_format=u16,
        protection_status=u16,
        object_compressed_size=u64 if wide else u32,
        thumb_format=u16,
        thumb_compressed_size=u32,
        thumb_pix_width=u32,
        thumb_pix_height=u32,
        image_pix_width=u32,
        image_pix_height=u32,
        image_bit_depth=u32,
        parent_object=u32,
        association_type=u16,
        association_desc=u32,
        # The two variants can only be told apart by a sequence number whose low byte is 0
        # (every device sends 0) and by a name that isn't empty.
        sequence_number=st.integers(0, 2**24 - 1).map(lambda n: n << 8) if wide else u32,
        filename=names,
        capture_date=texts,
        modification_date=texts,
        keywords=texts,
        wide=st.just(wide),
    )


object_infos = _object_infos(wide=False) | _object_infos(wide=True)

elements = st.builds(
    lambda handle, code, typed: PropertyElement(handle, code, *typed), u32, u16, typed_values
)
property_lists = st.lists(elements, max_size=12)


@st.composite
def property_descriptions(draw: st.DrawFn) -> PropertyDescription:
    data_type = draw(data_types)
    flag = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 0xFF]))
    form: tuple[Value, ...] = ()
    if flag == 1:
        form = tuple(draw(values_of(data_type)) for _ in range(3))
    elif flag == 2:
        form = tuple(draw(st.lists(values_of(data_type), max_size=5)))
    elif flag in {4, 6, 0xFF}:
        form = (draw(u16 if flag == 4 else u32),)
    elif flag == 5:
        form = (draw(texts),)
    return PropertyDescription(
        draw(u16), data_type, draw(st.booleans()), draw(values_of(data_type)), draw(u32), flag, form
    )


parameters = st.lists(u32, max_size=5).map(tuple)
containers = st.builds(
    Container, st.sampled_from([ContainerType.COMMAND, ContainerType.RESPONSE]), u16, u32, parameters
)
events = st.builds(Container, st.just(ContainerType.EVENT), u16, u32, st.lists(u32, max_size=3).map(tuple))
