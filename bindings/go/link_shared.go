//go:build cyborg_use_lib

package cyborgdb

// With -tags cyborg_use_lib: the shared library and the header of the system, as pkg-config knows them.

// #cgo pkg-config: cyborg
import "C"
