package main

import (
	"os"
	"path/filepath"

	"cyborg.invalid/cyborgdb/examples/internal/words"
)

// longWord: shorter words occur in random bytes.
const longWord = 8

// hunt looks for the long words of a list in every byte of files.
type hunt struct {
	byStart map[string][]string // words by their first longWord bytes
	starts  [65536]bool         // whether a word begins with these two bytes
	count   int
}

func newHunt(w *words.Words) *hunt {
	h := &hunt{byStart: map[string][]string{}}
	for _, text := range w.Text {
		if len(text) >= longWord {
			h.byStart[text[:longWord]] = append(h.byStart[text[:longWord]], text)
			h.starts[int(text[0])<<8|int(text[1])] = true
			h.count++
		}
	}
	return h
}

// in adds the words that stand in b to found.
func (h *hunt) in(b []byte, found map[string]bool) {
	for i := 0; i+longWord <= len(b); i++ {
		if !h.starts[int(b[i])<<8|int(b[i+1])] {
			continue
		}
		for _, text := range h.byStart[string(b[i:i+longWord])] {
			if i+len(text) <= len(b) && string(b[i:i+len(text)]) == text {
				found[text] = true
			}
		}
	}
}

// folder gives the words in all files of a folder, and the bytes looked at.
func (h *hunt) folder(folder string) (found map[string]bool, size int, err error) {
	found = map[string]bool{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, 0, err
	}
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, 0, err
		}
		h.in(b, found)
		size += len(b)
	}
	return found, size, nil
}
