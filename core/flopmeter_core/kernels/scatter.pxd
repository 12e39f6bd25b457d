# C types of scatter.py, for Cython; Python never reads this file.
cimport cython

@cython.locals(
    count=Py_ssize_t, good=bint, at=Py_ssize_t, row=Py_ssize_t, entry="long long",
)
cpdef bint scatter(
    const long long[::1] column, long long[::1] rows, Py_ssize_t place, Py_ssize_t width,
    long long least, long long last,
) except -1
