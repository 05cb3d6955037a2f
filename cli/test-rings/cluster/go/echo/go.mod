module loam/echo

go 1.26
