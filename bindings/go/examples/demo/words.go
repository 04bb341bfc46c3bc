package main

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
)

// words are the word vectors of tests/data/words.bin; its layout stands in tests/data/README.md.
type words struct {
	count, dimension int
	text             []string
	vectors          []float32 // count x dimension, row by row
}

func (w *words) vector(i int) []float32 { return w.vectors[i*w.dimension : (i+1)*w.dimension] }

func loadWords(path string) (*words, error) {
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
	w := &words{count: n, dimension: dimension, text: make([]string, n), vectors: make([]float32, n*dimension)}
	for i := range n {
		from, to := u32(offsets+4*i), u32(offsets+4*(i+1))
		if from >= to || to > textBytes {
			return nil, errors.New("word offsets do not rise within the text")
		}
		w.text[i] = string(text[from:to])
		scale := math.Float32frombits(uint32(u32(scales + 4*i)))
		for j := range dimension {
			w.vectors[i*dimension+j] = scale * float32(int8(b[codes+i*dimension+j]))
		}
	}
	return w, nil
}

// unit gives the vectors at length 1.
func (w *words) unit() []float32 {
	unit := make([]float32, len(w.vectors))
	for i := range w.count {
		v, norm := w.vector(i), 0.0
		for _, x := range v {
			norm += float64(x) * float64(x)
		}
		for j, x := range v {
			unit[i*w.dimension+j] = float32(float64(x) / math.Sqrt(norm))
		}
	}
	return unit
}

// nearest gives the k words nearest to word by cosine, itself left out, found by looking at every word.
func (w *words) nearest(unit []float32, word, k int) map[string]bool {
	d := w.dimension
	q := unit[word*d : (word+1)*d]
	best, score := make([]int, 0, k+1), make([]float32, 0, k+1)
	for i := range w.count {
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
		out[w.text[i]] = true
	}
	return out
}
