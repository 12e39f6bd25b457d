# C types of known_wire.py, for Cython; Python never reads this file.
# Each place in the message is held against its end before it is read: bounds are not checked.
cimport cython

cdef long long _NS_PER_S, _GREATEST_SECONDS, _GREATEST_INT32
cdef Py_ssize_t _COMPONENT_BYTES
cdef unsigned char _GREATEST_TOP_BYTE
cdef unsigned char _VECTOR, _DISPLAY, _OBSERVED, _BOOTED
cdef unsigned char _KEY, _SEQUENCE, _COMPONENTS, _BOOT, _FOLLOWS
cdef unsigned char _SECONDS, _NANOS, _ACKNOWLEDGEMENT, _DURABILITY

@cython.locals(value="long long", shift=int, byte="long long")
cpdef Py_ssize_t varint(
    const unsigned char[::1] raw, Py_ssize_t at, Py_ssize_t end, long long[::1] told,
) except -2

@cython.locals(seconds="long long", nanos="long long", tag="unsigned char")
cpdef int read_moment(
    const unsigned char[::1] raw, Py_ssize_t at, Py_ssize_t end, long long[::1] told,
) except -2

@cython.locals(
    components=Py_ssize_t, component=Py_ssize_t, value="long long", byte=Py_ssize_t,
    part="long long",
)
cpdef int read_components(
    const unsigned char[::1] raw, Py_ssize_t at, Py_ssize_t length, long long[::1] came,
    Py_ssize_t first,
) except -2

@cython.locals(
    came_width=Py_ssize_t, came_first=Py_ssize_t, span_width=Py_ssize_t, fingerprint="long long",
    most_named="long long", first=Py_ssize_t, number="long long", sequence="long long",
    boot="long long", seen=int, named_at=Py_ssize_t, named_bytes="long long",
    tag="unsigned char", value="long long",
)
cpdef int read_vector(
    const unsigned char[::1] raw, Py_ssize_t at, Py_ssize_t end, Py_ssize_t row,
    long long[::1] numbers, long long[::1] came, long long[::1] follows, long long[::1] told,
) except -2

@cython.locals(
    span_width=Py_ssize_t, most=Py_ssize_t, most_shown=Py_ssize_t, size=Py_ssize_t,
    at=Py_ssize_t, rows=Py_ssize_t, estimates=Py_ssize_t, observed=int, booted=int,
    boot="long long", tag="unsigned char", length=Py_ssize_t, end=Py_ssize_t,
)
cpdef Py_ssize_t read_report(
    const unsigned char[::1] raw, long long[::1] numbers, long long[::1] came,
    long long[::1] follows, long long[::1] shown, long long[::1] told,
) except -2

cpdef Py_ssize_t put_varint(unsigned char[::1] out, Py_ssize_t at, long long value) except -2

@cython.locals(
    count=Py_ssize_t, at=Py_ssize_t, row=Py_ssize_t, number="long long", sequence="long long",
    length_at=Py_ssize_t,
)
cpdef Py_ssize_t spell_answer(
    const long long[::1] numbers, const long long[::1] sequences, long long durability,
    unsigned char[::1] out,
) except -2
