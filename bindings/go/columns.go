package cyborgdb

// Results on their way from C memory to Go memory: one copy, one allocation a column.

// #include "ffi.h"
import "C"

import "unsafe"

// columns is a result in Go memory. Strings of a column share one allocation, as do vectors.
type columns struct {
	rows      int
	starts    []int // nil for items
	ids       []string
	numbers   []uint64 // nil unless ids are numbers; then ids is nil
	found     []bool
	distances []float32
	metadata  []string // JSON; nil when not included
	contents  []NullableContents
	vectors   [][]float32
}

func takeItems(op string, items *C.cyborg_items) (*columns, error) {
	defer C.cyborg_items_free(items)
	c := C.cyborg_columns{struct_size: C.sizeof_cyborg_columns}
	var e *C.cyborg_error
	if err := failure(op, C.cyborg_items_columns(items, &c, &e), e); err != nil {
		return nil, err
	}
	return readColumns(&c), nil
}

func readColumns(c *C.cyborg_columns) *columns {
	rows := int(c.rows)
	out := &columns{rows: rows}
	if c.starts != nil {
		out.starts = make([]int, c.queries+1)
		for i, s := range unsafe.Slice(c.starts, c.queries+1) {
			out.starts[i] = int(s)
		}
	}
	if c.id_numbers != nil {
		out.numbers = append([]uint64{}, unsafe.Slice((*uint64)(c.id_numbers), rows)...)
	} else {
		out.ids = readStrings(unsafe.Pointer(c.ids), c.id_offsets, rows)
	}
	if c.found != nil {
		out.found = make([]bool, rows)
		for i, f := range unsafe.Slice(c.found, rows) {
			out.found[i] = f != 0
		}
	}
	if c.distances != nil {
		out.distances = append([]float32{}, unsafe.Slice((*float32)(c.distances), rows)...)
	}
	if c.metadata_offsets != nil {
		out.metadata = readStrings(unsafe.Pointer(c.metadata), c.metadata_offsets, rows)
	}
	if c.contents_offsets != nil {
		out.contents = readContents(c, rows)
	}
	if c.vectors != nil {
		dimension := int(c.dimension)
		block := append([]float32{}, unsafe.Slice((*float32)(c.vectors), rows*dimension)...)
		out.vectors = make([][]float32, rows)
		for i := range out.vectors {
			out.vectors[i] = block[i*dimension : (i+1)*dimension : (i+1)*dimension]
		}
	}
	return out
}

func readStrings(data unsafe.Pointer, offsets *C.uint64_t, rows int) []string {
	at := unsafe.Slice((*uint64)(offsets), rows+1)
	all := string(unsafe.Slice((*byte)(data), at[rows]))
	out := make([]string, rows)
	for i := range out {
		out[i] = all[at[i]:at[i+1]]
	}
	return out
}

func readContents(c *C.cyborg_columns, rows int) []NullableContents {
	texts := readStrings(unsafe.Pointer(c.contents), c.contents_offsets, rows)
	kinds := unsafe.Slice((*uint8)(c.contents_kinds), rows)
	out := make([]NullableContents, rows)
	for i, text := range texts {
		switch kinds[i] {
		case contentsNone:
		case contentsText:
			out[i] = NewNullableContents(text)
		default:
			out[i] = NewNullableContents([]byte(text))
		}
	}
	return out
}
