package cyborgdb

import (
	"crypto/rand"
	"encoding/json"
)

// Limits of the library.
const (
	// KeyLen is the length of a key in bytes.
	KeyLen = 32
	// MaxNameLen is the longest index name in bytes.
	MaxNameLen = 255
	// MaxDimension is the largest dimension of a vector.
	MaxDimension = 65536
	// MaxLists is the most inverted lists of an index.
	MaxLists = 1048576
	// MaxModelIDLen is the longest id of a model in bytes.
	MaxModelIDLen = 200
	// MaxModelDescription is the longest description of a model in characters.
	MaxModelDescription = 1000
	// MaxIDLen is the longest id in bytes.
	MaxIDLen = 4096
	// MaxMetadataLen is the longest metadata of an item in bytes of JSON.
	MaxMetadataLen = 1048576
	// MaxContentsLen is the longest contents of an item in bytes.
	MaxContentsLen = 16777216
	// MaxBatchBytes is the most that one call carries: vectors, ids, metadata and contents together.
	MaxBatchBytes = 1073741824
	// RecallPoints is the number of points of a recall curve in IndexInfo.
	RecallPoints = 16
	// DefaultTopK is the number of results of a query that does not say.
	DefaultTopK = 100
	// MaxTopK is the most results of one query.
	MaxTopK = 10000
)

// GenerateKey makes a key of KeyLen random bytes. Keep it: nothing gives it back, and without it the index is lost.
func GenerateKey() []byte {
	key := make([]byte, KeyLen)
	rand.Read(key) // never fails since Go 1.24
	return key
}

// Metric says how far apart two vectors are. A distance is always lower = nearer.
type Metric int32

// The metrics; the zero value means Euclidean.
const (
	// Euclidean is sqrt(sum (a - b)^2).
	Euclidean Metric = 1
	// SquaredEuclidean is sum (a - b)^2.
	SquaredEuclidean Metric = 2
	// Cosine is 1 - cos(a, b). Vectors are normalised when they are taken in, and a zero vector is refused.
	Cosine Metric = 3
	// InnerProduct is minus the dot product.
	InnerProduct Metric = 4
)

var metricNames = map[Metric]string{
	0: "default", Euclidean: "euclidean", SquaredEuclidean: "squared_euclidean", Cosine: "cosine",
	InnerProduct: "inner_product",
}

// String gives the name of a metric: "cosine".
func (m Metric) String() string { return name(metricNames, m, "Metric") }

// Quantizer says how vectors are coded in the lists of a trained index.
type Quantizer int32

// The quantizers; the zero value means the library's choice.
const (
	// Flat keeps full vectors, exact.
	Flat Quantizer = 1
	// SQ keeps scalar codes of a few bits a dimension; the best candidates are reranked by their full vectors.
	SQ Quantizer = 2
	// PQ keeps product quantization codes: each part of a vector is the nearest of a few learned values.
	PQ Quantizer = 3
	// RaBitQ keeps a few bits a dimension after a random rotation, with an error bound that says what to rerank.
	RaBitQ Quantizer = 4
)

var quantizerNames = map[Quantizer]string{0: "auto", Flat: "flat", SQ: "sq", PQ: "pq", RaBitQ: "rabitq"}

// String gives the name of a quantizer: "sq".
func (q Quantizer) String() string { return name(quantizerNames, q, "Quantizer") }

// VectorPrecision says how vectors are stored.
type VectorPrecision int32

// The precisions; the zero value means Float32.
const (
	// Float32 keeps vectors as given.
	Float32 VectorPrecision = 1
	// Float16 rounds vectors when they are taken in: half the bytes. Values beyond -65504 to 65504 are refused.
	Float16 VectorPrecision = 2
)

var precisionNames = map[VectorPrecision]string{0: "default", Float32: "f32", Float16: "f16"}

// String gives the name of a precision: "f16".
func (p VectorPrecision) String() string { return name(precisionNames, p, "VectorPrecision") }

// IDKind says what the ids of an index are.
type IDKind int32

// The kinds of ids; the zero value means Strings.
const (
	// Strings are ids of 1 to MaxIDLen bytes; any bytes, text is usual.
	Strings IDKind = 1
	// Numbers are ids of 64 bits.
	Numbers IDKind = 2
)

var idKindNames = map[IDKind]string{0: "default", Strings: "strings", Numbers: "numbers"}

// String gives the name of a kind: "numbers".
func (k IDKind) String() string { return name(idKindNames, k, "IDKind") }

// CacheMode says how the cache keeps inverted lists.
type CacheMode int32

// The modes; the zero value means CachePlain.
const (
	// CachePlain keeps lists decrypted and wipes them when they leave. Fastest.
	CachePlain CacheMode = 1
	// CacheSealed keeps ciphertext, which each query decrypts into memory that is wiped after it.
	CacheSealed CacheMode = 2
)

var cacheModeNames = map[CacheMode]string{0: "default", CachePlain: "plain", CacheSealed: "sealed"}

// String gives the name of a mode: "sealed".
func (m CacheMode) String() string { return name(cacheModeNames, m, "CacheMode") }

// Include says what comes back beside ids; the bits can be combined with |.
type Include uint32

// What can be included.
const (
	// IncludeDistance is for queries only.
	IncludeDistance Include = 1
	// IncludeMetadata gives metadata as a map and as JSON.
	IncludeMetadata Include = 2
	// IncludeContents gives contents with their kind.
	IncludeContents Include = 4
	// IncludeVector gives vectors; under the cosine metric the normalised ones.
	IncludeVector Include = 8
	// IncludeAll is all of these.
	IncludeAll Include = 15
	// IncludeMetadataJSON gives metadata as JSON only, without the work of decoding it.
	IncludeMetadataJSON Include = 1 << 31
)

// bits are those that the library knows.
func (i Include) bits() uint32 {
	if i&IncludeMetadataJSON != 0 {
		i = i&^IncludeMetadataJSON | IncludeMetadata
	}
	return uint32(i)
}

// NullableContents are the contents of an item: text, bytes, or none (the zero value). The kind is kept.
type NullableContents struct {
	kind uint8
	text string
	data []byte
}

const (
	contentsNone  uint8 = 0
	contentsBytes uint8 = 1
	contentsText  uint8 = 2
)

// NewNullableContents makes contents of a string, which must be UTF-8, or of bytes, which are not copied.
func NewNullableContents[T string | []byte](value T) NullableContents {
	switch v := any(value).(type) {
	case string:
		return NullableContents{kind: contentsText, text: v}
	default:
		return NullableContents{kind: contentsBytes, data: v.([]byte)}
	}
}

// IsSet tells whether there are contents.
func (c NullableContents) IsSet() bool { return c.kind != contentsNone }

// IsText tells whether the contents were given as a string.
func (c NullableContents) IsText() bool { return c.kind == contentsText }

// Len is the length in bytes.
func (c NullableContents) Len() int { return len(c.text) + len(c.data) }

// String gives the contents as a string, whichever kind they are; "" for none.
func (c NullableContents) String() string {
	if c.kind == contentsBytes {
		return string(c.data)
	}
	return c.text
}

// Bytes gives the contents as bytes, whichever kind they are; nil for none.
func (c NullableContents) Bytes() []byte {
	if c.kind == contentsText {
		return []byte(c.text)
	}
	return c.data
}

// VectorItem is an item: an id, a vector, and optionally metadata and contents. All four are stored encrypted.
type VectorItem struct {
	// Id has 1 to MaxIDLen bytes. Not used where ids are Numbers.
	Id string
	// Number is the id where the index has ids of kind Numbers; not used otherwise.
	Number uint64
	// Vector has as many finite values as the index has dimensions.
	Vector []float32
	// Contents are optional.
	Contents NullableContents
	// Metadata is optional and stored as a JSON object; nil = none. What comes back went through encoding/json: numbers
	// are float64.
	Metadata map[string]interface{}
	// MetadataJSON is the same as JSON, byte for byte. For an upsert give it or Metadata, not both.
	MetadataJSON json.RawMessage
}

// VectorItems are items to upsert, or items fetched.
type VectorItems []VectorItem

// Block is a batch in columns, for large batches: the vectors cross as they lie in memory.
type Block struct {
	// Ids, one for each item; Numbers instead where the index has ids of that kind.
	Ids     []string
	Numbers []uint64
	// Vectors are len(Ids) x Dimension finite values, item by item.
	Vectors []float32
	// Dimension is the number of values of each vector.
	Dimension int
	// Metadata is nil, or a JSON object for each item; an empty one = none.
	Metadata []json.RawMessage
	// Contents is nil, or one for each item.
	Contents []NullableContents
}

// UpsertResult tells what an upsert did.
type UpsertResult struct {
	// Inserted and Updated count the items whose id was new, and those that replaced one.
	Inserted, Updated uint64
	// Superseded counts the items of the batch that a later item of the same id overrode.
	Superseded uint64
	// VectorCount is the number of items in the index now.
	VectorCount uint64
	// TrainingTriggered tells that this upsert started a training job.
	TrainingTriggered bool
	// Threshold is the number of items that has to be passed for training to start.
	Threshold uint64
}

// Message says in one line that the upsert started training, with its numbers; "" when it did not.
func (r UpsertResult) Message() string { return upsertMessage(r) }

// Match is a result of a query.
type Match struct {
	// Id is the item's; Number where the index has ids of that kind.
	Id     string
	Number uint64
	// Distance is lower for nearer items; NaN unless included.
	Distance float32
	// Vector, Contents, Metadata and MetadataJSON are there when included.
	Vector       []float32
	Contents     NullableContents
	Metadata     map[string]interface{}
	MetadataJSON json.RawMessage
}
