# C types of known_rows.py, for Cython; Python never reads this file.
# Differences of values outside 0 .. 2^62 - 1 may wrap (-fwrapv), and such a row is not usual
# whatever they were.
cimport cython

@cython.locals(
    components=Py_ssize_t, limit="long long", bits=int, width=Py_ssize_t, came_width=Py_ssize_t,
    first=Py_ssize_t, came_first=Py_ssize_t, count=Py_ssize_t, rows=Py_ssize_t,
    unusual=Py_ssize_t, row=Py_ssize_t, component=Py_ssize_t, place="long long", ours=Py_ssize_t,
    theirs=Py_ssize_t, newest="long long", sequence="long long", seen="long long",
    falls="long long", new="long long", old="long long",
)
cpdef judge_rows(
    const long long[::1] held, const long long[::1] places, const long long[::1] came,
    unsigned char[::1] usual, long long stream,
)

@cython.locals(
    components=Py_ssize_t, busy=Py_ssize_t, energy=Py_ssize_t, times=Py_ssize_t,
    suspended=Py_ssize_t, longest="long long", slack="long long", per_ms="long long",
    per_s="long long", first=Py_ssize_t, boot="long long", total="long long",
    component=Py_ssize_t, spent="long long", greatest="long long", measured_ms="long long",
)
cpdef unsigned char plausible(
    const long long[::1] held, Py_ssize_t ours, const long long[::1] came, Py_ssize_t theirs,
) except 255

@cython.locals(
    components=Py_ssize_t, width=Py_ssize_t, came_width=Py_ssize_t, first=Py_ssize_t,
    came_first=Py_ssize_t, count=Py_ssize_t, rows=Py_ssize_t, row=Py_ssize_t,
    component=Py_ssize_t, place="long long", ours=Py_ssize_t, theirs=Py_ssize_t,
)
cpdef take_rows(
    long long[::1] held, const long long[::1] places, const long long[::1] came,
    const unsigned char[::1] usual, long long stream,
)
