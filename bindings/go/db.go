package cyborgdb

import (
	"log/slog"
	"runtime"
	"sync/atomic"
)

// Options say how a db is opened.
type Options struct {
	// Threads for parallel work and background jobs; 0 = one per core, 1 = parallel parts run on the caller's.
	Threads int
	// MemoryLimit in bytes of caches, scratch and decoded data; 0 = none.
	MemoryLimit uint64
	// CacheBytes that the cache of lists and vectors may hold; 0 = no limit of its own.
	CacheBytes uint64
	// CacheMode says how the cache keeps lists; 0 = CachePlain.
	CacheMode CacheMode
	// ReadOnly leaves the writer's place to another process; every write then gives ErrReadOnly.
	ReadOnly bool
	// Logger receives records of background work, none that holds keys, ids, vectors, metadata or contents. Its handler
	// runs on threads of the library, also several at once; it must not call this package, and if it panics its record
	// is lost.
	Logger *slog.Logger
}

// DB is an opened store. One process opens a store for writing at a time; others may open it read-only beside it. It
// holds any number of indexes, each under its own key.
type DB struct {
	handle dbHandle
	log    uintptr
	closed atomic.Bool
	leak   runtime.Cleanup
}

// Open opens a store, or makes it when it does not exist. url is "memory:" (gone when the db is), "file:PATH", or a
// plain path. Beside the file PATH there may be PATH-wal, PATH-shm and PATH-lock.
func Open(url string, options *Options) (*DB, error) {
	if options == nil {
		options = &Options{}
	}
	log := addLogger(options.Logger)
	handle, err := openDB(url, options, log)
	if err != nil {
		removeLogger(log)
		return nil, err
	}
	db := &DB{handle: handle, log: log}
	// A net for those who forget Close. Closing may wait for a background job, so not on the cleanup goroutine.
	db.leak = runtime.AddCleanup(db, func(h dbHandle) {
		go func() {
			freeDB(h)
			removeLogger(log)
		}()
	}, handle)
	return db, nil
}

// Close ends training jobs, waits for background work and lets go of the store. Indexes and jobs of the db then give
// ErrClosed. Closing twice does nothing.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	db.leak.Stop()
	err := closeDB(db.handle)
	freeDB(db.handle)
	removeLogger(db.log)
	return err
}

// settle makes the error of a handle that Close freed meanwhile what it is.
func (db *DB) settle(err error) error { return settle(err, &db.closed, db) }

func settle(err error, closed *atomic.Bool, object any) error {
	keep(object)
	if e, ok := err.(*Error); ok && e.Status == StatusInvalidHandle && closed.Load() {
		return closedError(e.Op)
	}
	return err
}

// CreateIndex makes an index and opens it. name has 1 to MaxNameLen bytes of UTF-8 and stays readable in the store; key
// has KeyLen random bytes, see GenerateKey.
func (db *DB) CreateIndex(name string, key []byte, options *IndexOptions) (*Index, error) {
	if options == nil {
		options = &IndexOptions{}
	}
	handle, err := createIndex(db.handle, name, key, options)
	if err = db.settle(err); err != nil {
		return nil, err
	}
	return newIndex(db, name, handle)
}

// OpenIndex opens an index with its key. Opening one twice gives two objects of the same index.
func (db *DB) OpenIndex(name string, key []byte) (*Index, error) {
	handle, err := openIndex(db.handle, name, key)
	if err = db.settle(err); err != nil {
		return nil, err
	}
	return newIndex(db, name, handle)
}

// DropIndex deletes an index and all it holds, for good. Open objects of it give ErrClosed from then on.
func (db *DB) DropIndex(name string, key []byte) error {
	return db.settle(dropIndex(db.handle, name, key))
}

// ListIndexes gives the names of all indexes in alphabetical order. It needs no key.
func (db *DB) ListIndexes() ([]string, error) {
	names, err := listIndexes(db.handle)
	return names, db.settle(err)
}

// TrainingJobs gives the jobs of this db that run or wait, in the order they run, as they are at this moment. Jobs run
// one after the other in the order they were started, by a call or by an upsert.
func (db *DB) TrainingJobs() ([]TrainingJob, error) {
	jobs, err := trainingJobs(db.handle)
	return jobs, db.settle(err)
}

// TrainingStatus gives the names of the indexes that this db is training or has queued for it, in alphabetical order.
func (db *DB) TrainingStatus() ([]string, error) {
	names, err := trainingStatus(db.handle)
	return names, db.settle(err)
}
