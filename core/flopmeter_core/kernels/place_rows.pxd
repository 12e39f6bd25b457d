# C types of place_rows.py, for Cython; Python never reads this file.
cimport cython

@cython.locals(
    covered_at=Py_ssize_t, read_at=Py_ssize_t, began_at=Py_ssize_t, anchor_at=Py_ssize_t,
    width=Py_ssize_t, unplaced="long long", step="long long", agents=Py_ssize_t,
    given=Py_ssize_t, known=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, marked=Py_ssize_t,
    agent=Py_ssize_t, place=Py_ssize_t, account="long long", began="long long",
    read="long long", boot="long long", anchor="long long",
)
cpdef place_rows(
    const long long[::1] accounts, const long long[::1] numbers, const long long[::1] counts,
    const long long[::1] boots, const long long[::1] anchors, unsigned char[::1] marks,
)
