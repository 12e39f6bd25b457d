# C types of packed.py, for Cython; Python never reads this file.
cimport cython

@cython.locals(
    kinds=Py_ssize_t, place=Py_ssize_t, row=Py_ssize_t, last=Py_ssize_t, reached=Py_ssize_t,
    kind=Py_ssize_t,
)
cpdef Py_ssize_t usual(
    const unsigned int[::1] cells, Py_ssize_t rows, Py_ssize_t first,
    const long long[::1] places, const long long[::1] limits,
    unsigned long long[::1] sums, unsigned long long[::1] scratch,
) except -1

@cython.locals(
    longest="unsigned long long", fastest="unsigned long long", strongest="unsigned long long",
    greatest="unsigned long long", most="unsigned long long", silence="unsigned long long",
    loud="unsigned long long", room="unsigned long long", clock_at=Py_ssize_t,
    power_at=Py_ssize_t, upper="unsigned long long", lower="unsigned long long",
    busy_upper="unsigned long long", busy_lower="unsigned long long",
    energy_upper="unsigned long long", energy_lower="unsigned long long",
    active="unsigned long long", total="unsigned long long", row=Py_ssize_t, kind=Py_ssize_t,
    span="unsigned long long", clock="unsigned long long", before="unsigned long long",
    loudest="unsigned long long", seen="unsigned long long", power="unsigned long long",
    earlier="unsigned long long", weight="unsigned long long", mask="unsigned long long",
    ppm="unsigned long long", stop=Py_ssize_t,
)
cpdef Py_ssize_t chunk(
    const unsigned int[::1] cells, Py_ssize_t rows, Py_ssize_t first, Py_ssize_t last,
    const long long[::1] places, const long long[::1] limits,
    unsigned long long[::1] sums, unsigned long long[::1] scratch,
) except -1

@cython.locals(
    upper="unsigned long long", lower="unsigned long long", row=Py_ssize_t,
    seen="unsigned long long", weight="unsigned long long", rest="unsigned long long",
    mask="unsigned long long", count=Py_ssize_t,
)
cpdef share(
    const unsigned int[::1] cells, Py_ssize_t at, Py_ssize_t first, Py_ssize_t last,
    const unsigned long long[::1] scratch, unsigned long long[::1] sums, Py_ssize_t place,
)
