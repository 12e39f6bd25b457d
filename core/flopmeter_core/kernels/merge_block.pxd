# C types of merge_block.py, for Cython; Python never reads this file.
# With them each buffer is read and written as int64 in place. Differences of values outside
# 0 .. 2^62 - 1 may wrap (-fwrapv), and such a row is marked ASK whatever they were.
cimport cython

@cython.locals(
    won="unsigned char", duplicate="unsigned char", late="unsigned char", ask="unsigned char",
    outcome="unsigned char", limit="long long", bits=int, rows=Py_ssize_t, count=Py_ssize_t,
    asked=Py_ssize_t, row=Py_ssize_t, place="long long", ours=Py_ssize_t, theirs=Py_ssize_t,
    component=Py_ssize_t, seen="long long", falls="long long", rises="long long",
    new="long long", old="long long", newest="long long", sequence="long long", known=bint,
)
cpdef merge_rows(
    long long[::1] held, long long[::1] held_sequences, const long long[::1] places,
    const long long[::1] came, const long long[::1] came_sequences, unsigned char[::1] outcomes,
    Py_ssize_t width,
)
