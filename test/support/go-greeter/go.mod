module loam.test/go-greeter

go 1.24
