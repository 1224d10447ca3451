module binwire.test/interop/scenarios

go 1.24
