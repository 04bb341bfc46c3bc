// The main job on real data: Open, CreateIndex, UpsertBinary, Train, Poll, Query, OpenIndex and errors.
//
//	go run ./examples/demo ../../tests/data/words.bin [FOLDER]
//
// Indexes 20,000 words in a store of its own, trains while it queries, shows neighbours and recall against an exact
// search of its own, then closes the store and looks for the words in its bytes. The store lies in a new folder below
// FOLDER (default: the system's temporary one), which is removed at the end. It fails unless everything came out as it
// should.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cyborg.invalid/cyborgdb"
	"cyborg.invalid/cyborgdb/examples/internal/words"
)

const (
	batch         = 5000
	neighbours    = 10
	recallQueries = 500
)

func main() {
	path, parent := "../../tests/data/words.bin", ""
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	if len(os.Args) > 2 {
		parent = os.Args[2]
	}
	if err := demo(context.Background(), path, parent); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, path, parent string) error {
	w, err := words.Load(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	folder, err := os.MkdirTemp(parent, "cyborg-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	url := "file:" + filepath.Join(folder, "words.cyborg")
	key := cyborgdb.GenerateKey()
	fmt.Printf("cyborg %s (%s)\n%s\n\n", cyborgdb.Version(), cyborgdb.BuildInfo(), url)

	h := newHunt(w)
	known, err := fill(ctx, url, key, w, h, folder)
	if err != nil {
		return err
	}
	if err := look(h, w, folder, known); err != nil {
		return err
	}
	return reopen(ctx, url, key, w)
}

// fill makes the index, trains it, and searches it; it gives the words that stood in the store before any item did.
func fill(ctx context.Context, url string, key []byte, w *words.Words, h *hunt, folder string) (map[string]bool, error) {
	db, err := cyborgdb.Open(url, nil)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	index, err := db.CreateIndex("words", key, &cyborgdb.IndexOptions{
		Dimension:         w.Dimension,
		Metric:            cyborgdb.Cosine,
		AutoTrainDisabled: true, // trained below, so that it can be watched
	})
	if err != nil {
		return nil, err
	}
	defer index.Close()
	known, _, err := h.folder(folder)
	if err != nil {
		return nil, err
	}

	start := time.Now()
	if err := upsert(ctx, index, w); err != nil {
		return nil, err
	}
	fmt.Printf("1. %d words with metadata and contents upserted, durable: %.2f s\n", w.Count, time.Since(start).Seconds())

	fmt.Println("2. training in the background")
	if err := train(ctx, index, w); err != nil {
		return nil, err
	}
	info, err := index.Describe()
	if err != nil {
		return nil, err
	}
	fmt.Printf("   %d lists; %d of them are probed for a recall of %.2f\n", info.NLists, info.AutoProbes, info.TargetRecall)

	fmt.Println("3. neighbours (cosine distance)")
	for _, text := range []string{"king", "physics", "paris", "guitar", "monday", "football", "oxygen"} {
		if err := show(ctx, index, w, text); err != nil {
			return nil, err
		}
	}
	if err := recall(ctx, index, w); err != nil {
		return nil, err
	}
	return known, db.Close()
}

func upsert(ctx context.Context, index *cyborgdb.Index, w *words.Words) error {
	for first := 0; first < w.Count; first += batch {
		end := min(first+batch, w.Count)
		block := &cyborgdb.Block{
			Ids:       w.Text[first:end],
			Vectors:   w.Vectors[first*w.Dimension : end*w.Dimension], // where they lie: no copy
			Dimension: w.Dimension,
		}
		for i := first; i < end; i++ {
			metadata, err := json.Marshal(map[string]any{"word": w.Text[i], "rank": i + 1})
			if err != nil {
				return err
			}
			block.Metadata = append(block.Metadata, metadata)
			block.Contents = append(block.Contents,
				cyborgdb.NewNullableContents(fmt.Sprintf("%s is word number %d by frequency.", w.Text[i], i+1)))
		}
		if _, err := index.UpsertBinary(ctx, block); err != nil {
			return err
		}
	}
	return nil
}

func train(ctx context.Context, index *cyborgdb.Index, w *words.Words) error {
	job, err := index.Train(ctx, nil)
	if err != nil {
		return err
	}
	defer job.Close()
	bar := newBar()
	queries, word, slowest := 0, 1, time.Duration(0)
	for {
		progress, err := job.Poll()
		if err != nil {
			return err
		}
		bar.draw(progress, queries)
		if progress.State.Ended() {
			break
		}
		word = word * 48271 % 2147483647
		start := time.Now()
		if _, err := index.Query(ctx, w.Vector(word%w.Count), &cyborgdb.QueryOptions{TopK: neighbours}); err != nil {
			return err
		}
		slowest = max(slowest, time.Since(start))
		queries++
	}
	if err := job.Wait(ctx); err != nil { // how it ended
		return err
	}
	bar.end()
	fmt.Printf("   slowest of these queries %.1f ms\n", 1e3*slowest.Seconds())
	return nil
}

// bar is a progress bar that is drawn over itself on a terminal; elsewhere it is one line a phase.
type bar struct {
	terminal bool
	drawn    time.Time
	phase    cyborgdb.TrainingPhase
}

func newBar() *bar {
	info, err := os.Stdout.Stat()
	return &bar{terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (b *bar) draw(p cyborgdb.TrainingProgress, queries int) {
	switch ended := p.State.Ended(); {
	case b.terminal && !ended && time.Since(b.drawn) < 50*time.Millisecond:
		return
	case !b.terminal && !ended && p.Phase == b.phase:
		return
	}
	b.drawn, b.phase = time.Now(), p.Phase
	ticks := 0
	if p.Total > 0 {
		ticks = int(20 * min(p.Done, p.Total) / p.Total)
	}
	before, after := "", "\n"
	if b.terminal {
		before, after = "\r", "  "
	}
	fmt.Printf("%s   %-12v [%-20s] %5.2f s, %d queries answered meanwhile%s", before, p.Phase, strings.Repeat("#", ticks),
		p.Elapsed.Seconds(), queries, after)
}

func (b *bar) end() {
	if b.terminal {
		fmt.Println()
	}
}

// show prints a word's neighbours without itself on one line.
func show(ctx context.Context, index *cyborgdb.Index, w *words.Words, text string) error {
	word := slices.Index(w.Text, text)
	if word < 0 {
		return fmt.Errorf("%q is not among the words", text)
	}
	matches, err := index.Query(ctx, w.Vector(word), &cyborgdb.QueryOptions{TopK: 8})
	if err != nil {
		return err
	}
	var near []string
	for _, m := range matches {
		if m.Id != text && len(near) < 7 {
			near = append(near, fmt.Sprintf("%s %.2f", m.Id, m.Distance))
		}
	}
	fmt.Printf("   %-12s%s\n", text, strings.Join(near, ", "))
	return nil
}

// recall is the share of the exact neighbours of evenly spread words that the index finds with automatic probes.
func recall(ctx context.Context, index *cyborgdb.Index, w *words.Words) error {
	unit := w.Unit()
	var inQuery, inExact time.Duration
	hits := 0
	for k := range recallQueries {
		word := k * w.Count / recallQueries
		start := time.Now()
		exact := w.Nearest(unit, word, neighbours)
		inExact += time.Since(start)
		start = time.Now()
		// The word itself is its own nearest.
		matches, err := index.Query(ctx, w.Vector(word), &cyborgdb.QueryOptions{TopK: neighbours + 1})
		if err != nil {
			return err
		}
		inQuery += time.Since(start)
		for _, m := range matches {
			if exact[m.Id] {
				hits++
			}
		}
	}
	share := float64(hits) / (recallQueries * neighbours)
	fmt.Printf("4. recall@%d of %d queries against exact search: %.4f; %.3f ms a query, exact search here %.3f ms\n",
		neighbours, recallQueries, share, 1e3*inQuery.Seconds()/recallQueries, 1e3*inExact.Seconds()/recallQueries)
	if share < 0.9 {
		return errors.New("recall is too low")
	}
	return nil
}

// look searches the closed store for words; known are those that stood there before any item did.
func look(h *hunt, w *words.Words, folder string, known map[string]bool) error {
	found, size, err := h.folder(folder)
	if err != nil {
		return err
	}
	leaked := 0
	for text := range found {
		if !known[text] {
			leaked++
		}
	}
	control := map[string]bool{}
	h.in([]byte(strings.Join(w.Text, "\n")), control)
	fmt.Printf("5. closed; the store has %.1f MB (the vectors alone: %.1f MB)\n", 1e-6*float64(size), 4e-6*float64(len(w.Vectors)))
	fmt.Printf("   %d words of %d letters or more looked for in every byte: %d found\n", h.count, longWord, leaked)
	fmt.Printf("   (%d more stand in SQLite's own schema, before the first item; in the plain list the same search finds %d)\n",
		len(known), len(control))
	if leaked > 0 {
		return errors.New("words stand in the file")
	}
	if len(control) != h.count {
		return errors.New("the search for words is broken")
	}
	return nil
}

// reopen shows that another key is refused and that everything came back.
func reopen(ctx context.Context, url string, key []byte, w *words.Words) error {
	db, err := cyborgdb.Open(url, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.OpenIndex("words", cyborgdb.GenerateKey())
	fmt.Printf("6. opened again with another key: %v\n", err)
	if !errors.Is(err, cyborgdb.ErrWrongKey) {
		return errors.New("the wrong key was not refused")
	}
	start := time.Now()
	index, err := db.OpenIndex("words", key)
	if err != nil {
		return err
	}
	defer index.Close()
	fmt.Printf("   with its own key: open in %.1f ms\n", 1e3*time.Since(start).Seconds())
	info, err := index.Describe()
	if err != nil {
		return err
	}
	if err := show(ctx, index, w, "king"); err != nil {
		return err
	}
	if info.Count != uint64(w.Count) || !info.Trained {
		return fmt.Errorf("%d items came back, trained: %v", info.Count, info.Trained)
	}
	return db.Close()
}
