package cyborgdb

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
)

// column is byte strings as C takes them: one buffer and count + 1 offsets. No offsets: no column.
type column struct {
	data    []byte
	offsets []uint64
}

func newColumn(count int) column {
	return column{offsets: append(make([]uint64, 0, count+1), 0)}
}

func (c *column) end() { c.offsets = append(c.offsets, uint64(len(c.data))) }

func columnOf(values []string) column {
	total := 0
	for _, v := range values {
		total += len(v)
	}
	c := newColumn(len(values))
	c.data = make([]byte, 0, total)
	for _, v := range values {
		c.data = append(c.data, v...)
		c.end()
	}
	return c
}

// batch is what an upsert passes to C.
type batch struct {
	count     int
	dimension int
	vectors   []float32
	base64    string
	isBase64  bool
	ids       column
	numbers   []uint64
	metadata  column
	contents  column
	kinds     []uint8
}

func (b *batch) addContents(all []NullableContents) {
	b.contents = newColumn(len(all))
	b.kinds = make([]uint8, len(all))
	for i, c := range all {
		b.contents.data = append(append(b.contents.data, c.text...), c.data...)
		b.contents.end()
		b.kinds[i] = c.kind
	}
}

// Upsert adds items, replacing as a whole those whose id is there already. When it returns, they are durable and the
// next query sees them. Either all items are taken or none; Error.Item tells which was refused. The last of equal ids
// wins. It never waits for training, but may start it, see [Index.UpsertItems].
func (ix *Index) Upsert(ctx context.Context, items VectorItems) error {
	_, err := ix.UpsertItems(ctx, items)
	return err
}

// UpsertItems is Upsert for those who want to know what it did.
func (ix *Index) UpsertItems(ctx context.Context, items VectorItems) (UpsertResult, error) {
	const op = "upsert"
	if len(items) == 0 {
		return ix.upsertNothing(ctx, op)
	}
	b, err := items.columns(op, ix.ids)
	if err != nil {
		return UpsertResult{}, err
	}
	return ix.upsert(ctx, op, b)
}

// UpsertBinary is Upsert for a large batch in columns: the vectors go to the library without being copied. The block
// must not change until it returns.
func (ix *Index) UpsertBinary(ctx context.Context, block *Block) (UpsertResult, error) {
	const op = "upsert"
	b, err := block.columns(op, ix.ids)
	if err != nil {
		return UpsertResult{}, err
	}
	if b.count == 0 {
		return ix.upsertNothing(ctx, op)
	}
	if block.Dimension < 1 || len(block.Vectors)/block.Dimension != b.count || len(block.Vectors)%block.Dimension != 0 {
		return UpsertResult{}, refused(op, -1, "Vectors: %d values, needed %d items x dimension %d", len(block.Vectors),
			b.count, block.Dimension)
	}
	b.vectors = block.Vectors
	return ix.upsert(ctx, op, b)
}

// UpsertBase64 is UpsertBinary with the vectors as standard base64 (with padding) of little-endian float32 values;
// block.Vectors must be nil.
func (ix *Index) UpsertBase64(ctx context.Context, block *Block, vectors string) (UpsertResult, error) {
	const op = "upsert"
	b, err := block.columns(op, ix.ids)
	if err != nil {
		return UpsertResult{}, err
	}
	if block.Vectors != nil {
		return UpsertResult{}, refused(op, -1, "Vectors: given beside base64, needed nil")
	}
	b.base64, b.isBase64 = vectors, true
	return ix.upsert(ctx, op, b)
}

func (ix *Index) upsert(ctx context.Context, op string, b *batch) (result UpsertResult, err error) {
	err = ix.watched(ctx, op, func(w *watch) (err error) {
		result, err = upsert(op, ix.handle, b, w)
		return err
	})
	return result, err
}

func (ix *Index) upsertNothing(ctx context.Context, op string) (UpsertResult, error) {
	if err := ended(ctx, op); err != nil {
		return UpsertResult{}, err
	}
	n, err := ix.Count()
	return UpsertResult{VectorCount: n}, err
}

// columns turns items into a batch: one pass over them for each column that there is.
func (items VectorItems) columns(op string, kind IDKind) (*batch, error) {
	b := &batch{count: len(items), dimension: len(items[0].Vector)}
	if err := items.addVectors(op, b); err != nil {
		return nil, err
	}
	if kind == Numbers {
		b.numbers = make([]uint64, len(items))
		for i := range items {
			b.numbers[i] = items[i].Number
		}
	} else {
		b.ids = newColumn(len(items))
		for i := range items {
			b.ids.data = append(b.ids.data, items[i].Id...)
			b.ids.end()
		}
	}
	withMetadata, withContents := false, false
	for i := range items {
		withMetadata = withMetadata || items[i].Metadata != nil || items[i].MetadataJSON != nil
		withContents = withContents || items[i].Contents.IsSet()
	}
	if withMetadata {
		if err := items.addMetadata(op, b); err != nil {
			return nil, err
		}
	}
	if withContents {
		all := make([]NullableContents, len(items))
		for i := range items {
			all[i] = items[i].Contents
		}
		b.addContents(all)
	}
	return b, nil
}

func (items VectorItems) addVectors(op string, b *batch) error {
	if len(items) == 1 {
		b.vectors = items[0].Vector
		return nil
	}
	b.vectors = make([]float32, 0, len(items)*b.dimension)
	for i := range items {
		if got := len(items[i].Vector); got != b.dimension {
			return mismatch(op, StatusDimensionMismatch, i, "dimension of an item's vector", b.dimension, got)
		}
		b.vectors = append(b.vectors, items[i].Vector...)
	}
	return nil
}

func (items VectorItems) addMetadata(op string, b *batch) error {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	offsets := append(make([]uint64, 0, len(items)+1), 0)
	for i := range items {
		item := &items[i]
		switch {
		case item.Metadata != nil && item.MetadataJSON != nil:
			return refused(op, i, "metadata: given as Metadata and as MetadataJSON, needed one of the two")
		case item.MetadataJSON != nil:
			buffer.Write(item.MetadataJSON)
		case item.Metadata != nil:
			if err := encoder.Encode(item.Metadata); err != nil {
				return refused(op, i, "metadata: %v", err)
			}
			buffer.Truncate(buffer.Len() - 1) // the encoder's newline
		}
		offsets = append(offsets, uint64(buffer.Len()))
	}
	b.metadata = column{buffer.Bytes(), offsets}
	return nil
}

// columns turns a block into a batch without its vectors.
func (block *Block) columns(op string, kind IDKind) (*batch, error) {
	b := &batch{dimension: block.Dimension}
	if kind == Numbers {
		b.count, b.numbers = len(block.Numbers), block.Numbers
		if block.Ids != nil {
			return nil, refused(op, -1, "Ids: given for an index whose ids are numbers, needed Numbers")
		}
	} else {
		b.count, b.ids = len(block.Ids), columnOf(block.Ids)
		if block.Numbers != nil {
			return nil, refused(op, -1, "Numbers: given for an index whose ids are strings, needed Ids")
		}
	}
	if block.Metadata != nil {
		if len(block.Metadata) != b.count {
			return nil, refused(op, -1, "Metadata: %d, needed nil or one for each of %d ids", len(block.Metadata), b.count)
		}
		b.metadata = newColumn(b.count)
		for _, m := range block.Metadata {
			b.metadata.data = append(b.metadata.data, m...)
			b.metadata.end()
		}
	}
	if block.Contents != nil {
		if len(block.Contents) != b.count {
			return nil, refused(op, -1, "Contents: %d, needed nil or one for each of %d ids", len(block.Contents), b.count)
		}
		b.addContents(block.Contents)
	}
	return b, nil
}

// idColumns are ids as C takes them.
type idColumns struct {
	column
	count   int
	numbers []uint64
}

func stringIDs(ids []string) *idColumns { return &idColumns{column: columnOf(ids), count: len(ids)} }

func numberIDs(ids []uint64) *idColumns {
	if ids == nil {
		ids = []uint64{}
	}
	return &idColumns{count: len(ids), numbers: ids}
}

// Get fetches items by id in the order asked for; ids that are not there are left out.
func (ix *Index) Get(ctx context.Context, ids []string, include Include) (VectorItems, error) {
	return ix.get(ctx, stringIDs(ids), include)
}

// GetNumbers is Get for ids of kind Numbers.
func (ix *Index) GetNumbers(ctx context.Context, ids []uint64, include Include) (VectorItems, error) {
	return ix.get(ctx, numberIDs(ids), include)
}

func (ix *Index) get(ctx context.Context, ids *idColumns, include Include) (VectorItems, error) {
	if err := ended(ctx, "get"); err != nil {
		return nil, err
	}
	c, err := get(ix.handle, ids, include)
	if err = ix.settle(err); err != nil {
		return nil, err
	}
	items := make(VectorItems, 0, c.rows)
	for i := range c.rows {
		if !c.found[i] {
			continue
		}
		var item VectorItem
		item.Id, item.Number = c.id(i)
		if err := c.fields("get", i, include, &item.Vector, &item.Contents, &item.Metadata, &item.MetadataJSON); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func (c *columns) id(i int) (string, uint64) {
	if c.numbers != nil {
		return "", c.numbers[i]
	}
	return c.ids[i], 0
}

// fields copies what was included of row i.
func (c *columns) fields(op string, i int, include Include, vector *[]float32, contents *NullableContents,
	metadata *map[string]interface{}, raw *json.RawMessage) error {
	if c.vectors != nil {
		*vector = c.vectors[i]
	}
	if c.contents != nil {
		*contents = c.contents[i]
	}
	if c.metadata == nil || c.metadata[i] == "" {
		return nil
	}
	*raw = json.RawMessage(c.metadata[i])
	if include&IncludeMetadata == 0 {
		return nil
	}
	if err := json.Unmarshal(*raw, metadata); err != nil {
		return refused(op, i, "metadata: %v", err)
	}
	return nil
}

// Contains tells for each id whether the index has it.
func (ix *Index) Contains(ctx context.Context, ids []string) ([]bool, error) {
	return ix.contains(ctx, stringIDs(ids))
}

// ContainsNumbers is Contains for ids of kind Numbers.
func (ix *Index) ContainsNumbers(ctx context.Context, ids []uint64) ([]bool, error) {
	return ix.contains(ctx, numberIDs(ids))
}

func (ix *Index) contains(ctx context.Context, ids *idColumns) ([]bool, error) {
	if err := ended(ctx, "contains"); err != nil {
		return nil, err
	}
	found, err := contains(ix.handle, ids)
	return found, ix.settle(err)
}

// Delete deletes items by id, durably, and tells how many were there. Ids that were not are no error.
func (ix *Index) Delete(ctx context.Context, ids []string) (uint64, error) {
	return ix.delete(ctx, stringIDs(ids))
}

// DeleteNumbers is Delete for ids of kind Numbers.
func (ix *Index) DeleteNumbers(ctx context.Context, ids []uint64) (uint64, error) {
	return ix.delete(ctx, numberIDs(ids))
}

func (ix *Index) delete(ctx context.Context, ids *idColumns) (uint64, error) {
	if err := ended(ctx, "delete"); err != nil {
		return 0, err
	}
	n, err := deleteItems(ix.handle, ids)
	return n, ix.settle(err)
}

// ListIDs walks over all ids as they were when the walk began, whatever is written meanwhile. An error ends it:
//
//	for id, err := range index.ListIDs(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(id)
//	}
func (ix *Index) ListIDs(ctx context.Context) iter.Seq2[string, error] {
	return listIDs(ctx, ix, Strings, func(c *columns) []string { return c.ids })
}

// ListNumbers is ListIDs for ids of kind Numbers.
func (ix *Index) ListNumbers(ctx context.Context) iter.Seq2[uint64, error] {
	return listIDs(ctx, ix, Numbers, func(c *columns) []uint64 { return c.numbers })
}

func listIDs[T any](ctx context.Context, ix *Index, kind IDKind, ids func(*columns) []T) iter.Seq2[T, error] {
	const op = "list ids"
	return func(yield func(T, error) bool) {
		var none T
		if ix.ids != kind {
			yield(none, refused(op, -1, "ids: %v asked for, the index has %v", kind, ix.ids))
			return
		}
		if err := ended(ctx, op); err != nil {
			yield(none, err)
			return
		}
		cursor, err := openCursor(ix.handle)
		if err = ix.settle(err); err != nil {
			yield(none, err)
			return
		}
		defer freeCursor(cursor)
		for {
			if err := ended(ctx, op); err != nil {
				yield(none, err)
				return
			}
			page, err := nextPage(cursor)
			if err != nil {
				yield(none, err)
				return
			}
			if page.rows == 0 {
				return
			}
			for _, id := range ids(page) {
				if !yield(id, nil) {
					return
				}
			}
		}
	}
}
