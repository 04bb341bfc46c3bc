// Package words reads the word vectors of tests/data/words.bin, for the examples.
package words

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
)

// Words are the word vectors of tests/data/words.bin; its layout stands in tests/data/README.md.
type Words struct {
	// Count of words, Dimension of their vectors.
	Count, Dimension int
	// Text of each word.
	Text []string
	// Vectors, Count x Dimension, row by row.
	Vectors []float32
}

// Vector of word i.
func (w *Words) Vector(i int) []float32 { return w.Vectors[i*w.Dimension : (i+1)*w.Dimension] }

// Load reads a file of words.
func Load(path string) (*Words, error) {
	const header = 24
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < header || string(b[:8]) != "CYBWORDS" {
		return nil, errors.New("not a words file")
	}
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	if u32(8) != 1 {
		return nil, errors.New("unknown layout version")
	}
	n, dimension, textBytes := u32(12), u32(16), u32(20)
	// All three are below 2^32, so that their product with a bounded dimension cannot overflow an int.
	if n == 0 || dimension == 0 || dimension > 65536 || header+4*n+n*dimension+4*(n+1)+textBytes != len(b) {
		return nil, errors.New("the file's size is not what its header says")
	}
	scales, codes := header, header+4*n
	offsets := codes + n*dimension
	text := b[offsets+4*(n+1):]
	w := &Words{Count: n, Dimension: dimension, Text: make([]string, n), Vectors: make([]float32, n*dimension)}
	for i := range n {
		from, to := u32(offsets+4*i), u32(offsets+4*(i+1))
		if from >= to || to > textBytes {
			return nil, errors.New("word offsets do not rise within the text")
		}
		w.Text[i] = string(text[from:to])
		scale := math.Float32frombits(uint32(u32(scales + 4*i)))
		for j := range dimension {
			w.Vectors[i*dimension+j] = scale * float32(int8(b[codes+i*dimension+j]))
		}
	}
	return w, nil
}

// Unit gives the vectors at length 1.
func (w *Words) Unit() []float32 {
	unit := make([]float32, len(w.Vectors))
	for i := range w.Count {
		v, norm := w.Vector(i), 0.0
		for _, x := range v {
			norm += float64(x) * float64(x)
		}
		for j, x := range v {
			unit[i*w.Dimension+j] = float32(float64(x) / math.Sqrt(norm))
		}
	}
	return unit
}

// Nearest gives the k words nearest to word by cosine, itself left out, found by looking at every word.
func (w *Words) Nearest(unit []float32, word, k int) map[string]bool {
	d := w.Dimension
	q := unit[word*d : (word+1)*d]
	best, score := make([]int, 0, k+1), make([]float32, 0, k+1)
	for i := range w.Count {
		v := unit[i*d : (i+1)*d]
		var s float32
		for j := range v {
			s += q[j] * v[j]
		}
		if i == word || len(best) == k && s <= score[k-1] {
			continue
		}
		best, score = append(best, i), append(score, s)
		for at := len(best) - 1; at > 0 && score[at-1] < s; at-- {
			best[at], best[at-1] = best[at-1], best[at]
			score[at], score[at-1] = score[at-1], score[at]
		}
		best, score = best[:min(k, len(best))], score[:min(k, len(score))]
	}
	out := make(map[string]bool, k)
	for _, i := range best {
		out[w.Text[i]] = true
	}
	return out
}
