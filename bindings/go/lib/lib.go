// Package lib keeps the folder that `make` puts libcyborg.a and cyborg.h into: `go mod vendor` copies a folder with all
// its files when it holds a package that is imported, and only then. It has no content of its own.
package lib
