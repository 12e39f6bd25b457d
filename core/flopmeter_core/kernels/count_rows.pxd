# C types of count_rows.py, for Cython; Python never reads this file.
# A difference of values outside 0 .. 2^62 - 1 may wrap (-fwrapv); its row is left all the same,
# because such a value makes `seen` negative by itself.
cimport cython

@cython.locals(
    components=Py_ssize_t, times=Py_ssize_t, limit="long long", held_first=Py_ssize_t,
    held_width=Py_ssize_t, first=Py_ssize_t, width=Py_ssize_t, weights=Py_ssize_t,
    limits=Py_ssize_t, group_width=Py_ssize_t, told_width=Py_ssize_t, count=Py_ssize_t,
    rows=Py_ssize_t, known=Py_ssize_t, left=Py_ssize_t, row=Py_ssize_t, component=Py_ssize_t,
    place="long long", new=Py_ssize_t, old=Py_ssize_t, group="long long", sums=Py_ssize_t,
    seen="long long", more="long long", covered="long long", weighed="long long",
)
cpdef count_rows(
    const long long[::1] held, const long long[::1] places, long long[::1] counted,
    long long[::1] groups, long long[::1] told, unsigned char[::1] usual,
)
