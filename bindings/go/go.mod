module cyborg.invalid/cyborgdb

go 1.24
