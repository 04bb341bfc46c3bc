//go:build !cyborg_use_lib

package cyborgdb

// The default: the static library that `make` puts into lib/, so that a program needs no file beside it. The header
// beside the library comes first: the two always fit together. In a checkout without it (go vet before the first
// build) the repository's own header serves.

/*
#cgo CFLAGS: -I${SRCDIR}/lib -I${SRCDIR}/../../include
#cgo LDFLAGS: ${SRCDIR}/lib/libcyborg.a -lpthread -ldl -lm -lgcc_s
*/
import "C"

import _ "cyborg.invalid/cyborgdb/lib" // vendored together with the library in it
