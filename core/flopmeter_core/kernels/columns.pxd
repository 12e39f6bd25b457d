# C types of columns.py, for Cython; Python never reads this file.
# A buffer is read and written as int64 in place. `wide` has 128 bits: Cython knows no such type, so
# it is told of one of 64 and never asked to hand a `wide` to Python.
cimport cython

cdef extern from *:
    """
    typedef unsigned __int128 wide;
    """
    ctypedef unsigned long long wide

@cython.locals(
    row=Py_ssize_t, one=wide, other=wide, product=wide, low=wide, high=wide, word=wide,
    signs="long long",
)
cpdef dot(
    const long long[::1] first, const long long[::1] second, unsigned long long[::1] words,
)

@cython.locals(
    row=Py_ssize_t, count=Py_ssize_t, greatest="long long", seen="long long", span="long long",
    boot="long long",
)
cpdef spans(
    const long long[::1] monotonic, const long long[::1] boottime, long long longest,
    long long[::1] elapsed, unsigned char[::1] doubts,
)

@cython.locals(row=Py_ssize_t, count=Py_ssize_t, before="long long", after="long long")
cpdef within(
    const long long[::1] column, long long least, long long greatest, unsigned char[::1] doubts,
)

@cython.locals(row=Py_ssize_t, count=Py_ssize_t, entry="long long")
cpdef raise_to(const long long[::1] column, long long[::1] loudest)

@cython.locals(row=Py_ssize_t, count=Py_ssize_t)
cpdef fast(
    const long long[::1] clock, const long long[::1] loudest, long long limit,
    unsigned char[::1] doubts,
)

@cython.locals(row=Py_ssize_t, count=Py_ssize_t)
cpdef loud_in_silence(
    const long long[::1] column, long long level, const long long[::1] loudest,
    long long silence, unsigned char[::1] doubts,
)

@cython.locals(
    row=Py_ssize_t, count=Py_ssize_t, greatest="long long", step_limit="long long",
    span_limit="long long", seen="long long", span="long long", step="long long",
    span_us="long long", jumps=bint, loud=bint,
)
cpdef energy_steps(
    const long long[::1] energy, const long long[::1] elapsed, long long greatest_mw,
    long long loud_mw, const long long[::1] loudest, long long silence, unsigned char[::1] doubts,
)

@cython.locals(row=Py_ssize_t, count=Py_ssize_t, span="long long")
cpdef settle(
    long long[::1] elapsed, const long long[::1] loudest, const unsigned char[::1] doubts,
    long long[::1] busy,
)

@cython.locals(
    row=Py_ssize_t, count=Py_ssize_t, span_limit="long long", span="long long", part="long long",
)
cpdef share_of(
    const long long[::1] elapsed, const long long[::1] share, long long whole,
    long long[::1] busy,
)

@cython.locals(row=Py_ssize_t, count=Py_ssize_t, halves="long long")
cpdef means(const long long[::1] column, long long[::1] mean)

@cython.locals(
    row=Py_ssize_t, count=Py_ssize_t, span_limit="long long", clock_limit="long long",
    span="long long",
)
cpdef weights(
    const long long[::1] elapsed, const long long[::1] clock, long long[::1] weight,
)

@cython.locals(
    row=Py_ssize_t, count=Py_ssize_t, total="long long", greatest="long long",
    step_limit="long long", seen="long long", step="long long",
)
cpdef kept_steps(const long long[::1] column, const unsigned char[::1] doubts)

@cython.locals(
    row=Py_ssize_t, total="long long", greatest="long long", span_limit="long long",
    span="long long",
)
cpdef total_of(const long long[::1] column)

@cython.locals(row=Py_ssize_t, count=Py_ssize_t)
cpdef widen(const unsigned int[::1] packed, long long scale, long long[::1] column)

@cython.locals(row=Py_ssize_t, count=Py_ssize_t, total="long long")
cpdef running(const unsigned int[::1] packed, long long start, long long[::1] column)
