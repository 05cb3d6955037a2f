module loam/pause

go 1.26
