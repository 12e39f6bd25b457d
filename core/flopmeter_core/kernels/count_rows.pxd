# C types of count_rows.py, for Cython; Python never reads this file.
# A difference of values outside 0 .. 2^62 - 1 may wrap (-fwrapv); its row is left all the same,
# because such a value makes `seen` negative by itself.
cimport cython

@cython.locals(
    components=Py_ssize_t, times=Py_ssize_t, limit="long long", held_first=Py_ssize_t,
    held_width=Py_ssize_t, first=Py_ssize_t, width=Py_ssize_t, weights=Py_ssize_t,
    limits=Py_ssize_t, touched_at=Py_ssize_t, group_width=Py_ssize_t, quiet=Py_ssize_t,
    covered_at=Py_ssize_t, lower_at=Py_ssize_t, read_at=Py_ssize_t, account_at=Py_ssize_t,
    account_width=Py_ssize_t, told_width=Py_ssize_t, row_left="unsigned char",
    row_told="unsigned char", row_done="unsigned char", count=Py_ssize_t,
    row=Py_ssize_t, component=Py_ssize_t, new=Py_ssize_t, old=Py_ssize_t, group=Py_ssize_t,
    account=Py_ssize_t, seen="long long", more="long long", covered="long long",
    weighed="long long",
)
cpdef count_rows(
    const long long[::1] held, const long long[::1] places, const long long[::1] read,
    long long[::1] counted, long long[::1] groups, long long[::1] accounts,
    long long[::1] touched, long long[::1] told, unsigned char[::1] marks,
)

@cython.locals(
    held_width=Py_ssize_t, width=Py_ssize_t, account_at=Py_ssize_t, count=Py_ssize_t,
    rows=Py_ssize_t, known=Py_ssize_t, groups_known=Py_ssize_t, accounts_known=Py_ssize_t,
    row_left="unsigned char", row_done="unsigned char", left=Py_ssize_t, row=Py_ssize_t,
    place="long long",
)
cpdef Py_ssize_t candidates(
    const long long[::1] held, const long long[::1] places, const long long[::1] read,
    const long long[::1] counted, const long long[::1] groups, const long long[::1] accounts,
    const long long[::1] touched, const long long[::1] told, unsigned char[::1] marks,
) except -1
