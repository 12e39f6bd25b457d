# C types of shortest.py, for Cython; Python never reads this file.
# Only `high * whole` may wrap, and its lower 64 bits are what is wanted.
cimport cython

@cython.locals(
    count=Py_ssize_t, number=Py_ssize_t, at=Py_ssize_t, place=Py_ssize_t,
    hidden="unsigned long long", whole="unsigned long long", odd="unsigned long long",
    high="unsigned long long", low="unsigned long long", here="unsigned long long",
    first="unsigned long long", last="unsigned long long", digits="unsigned long long",
    tens="unsigned long long", middle="unsigned long long",
    binary="long long", least="long long", greatest="long long", bias="long long",
    exponent="long long", below="long long", power="long long", shift="long long",
    log10_2="long long", three_quarters="long long", log10_bits="long long",
    log2_10="long long", log2_bits="long long", least_power="long long", lower=bint,
    line_feed="unsigned char", left="unsigned char", zero="unsigned char",
    point="unsigned char",
)
cpdef Py_ssize_t shortest(
    const unsigned long long[::1] bits, const unsigned long long[::1] powers,
    unsigned char[::1] text,
) except -1

@cython.locals(
    low_63="unsigned long long", all_64="unsigned long long", rest="unsigned long long",
    product="unsigned long long",
)
cpdef unsigned long long scaled(
    unsigned long long high, unsigned long long low, unsigned long long whole,
) noexcept

@cython.locals(low_32="unsigned long long", mixed="unsigned long long")
cpdef unsigned long long upper_half(unsigned long long one, unsigned long long other) noexcept

@cython.locals(
    zero="unsigned char", point="unsigned char",
    size=Py_ssize_t, rest="unsigned long long", before="long long", fixed=bint,
    places="long long", end=Py_ssize_t, place=Py_ssize_t, number=Py_ssize_t,
)
cpdef Py_ssize_t written(
    unsigned long long digits, long long power, unsigned char[::1] text, Py_ssize_t at,
) except -1

cpdef Py_ssize_t with_exponent(
    long long exponent, unsigned char[::1] text, Py_ssize_t at,
) except -1
