package packer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/memfd"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// SessionPrefix begins the name of every session of ours but the manifest's.
const SessionPrefix = "luod."

// DelegatedPrefix begins the name of those that a unit fills itself.
const DelegatedPrefix = SessionPrefix + "s."

// ShardSize is how many files go into one session. 10,000 files took 1.20 s to
// preserve and retrieve in one session and 0.38 s in sessions of 100.
const ShardSize = 100

// Store is luod's own fd store.
type Store interface {
	Push(name string, files ...*os.File) error
	Remove(name string) error
	Barrier(ctx context.Context) error
}

// Cargo is what is to be packed.
type Cargo struct {
	// Manifest comes with everything but Units.
	Manifest manifest.Manifest
	Units    []Unit
	// Verify asks for the SHA-256 of every file sealed against writing, of this unit
	// or of all; the others may change until their services have stopped.
	Verify bool
	// Superset says which files may come back with more seals; nil means none.
	Superset map[*vault.File]bool
	// Now is the wall clock.
	Now func() time.Time
}

// Unit is one unit's files in the order in which they are to be preserved. The
// packer borrows them.
type Unit struct {
	Name  string
	Files []*vault.File
	// Sessions are those that the unit has filled itself.
	Sessions []manifest.Session
	Verify   bool
}

// Packed owns the outgoing sessions. While it is open, in this process or
// through the fd store, its files are preserved.
type Packed struct {
	Manifest *manifest.Manifest

	store    Store
	sessions []*luo.Session
	names    []string
}

// Pack preserves the cargo. Each session goes into the fd store before its
// first file, so that a restarted luod finds whatever a killed one had open and
// can close or keep it. Units are independent of each other and are worked on at
// the same time, each in its order.
//
// Killed anywhere in here: the sessions made so far are in the fd store, the
// record in /run says "packing", and the next start removes them, which
// un-preserves everything; the files themselves are in the vault's bundles. One
// that was made and not pushed yet is empty, and gone.
func Pack(ctx context.Context, kernel *luo.Kernel, store Store, cargo Cargo) (_ *Packed, err error) {
	p := &Packed{store: store}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	m := cargo.Manifest
	units := make([]packing, len(cargo.Units))
	var names []string
	for i, u := range cargo.Units {
		units[i] = packing{Unit: u, verify: cargo.Verify || u.Verify, superset: cargo.Superset, first: len(names)}
		for range (len(u.Files) + ShardSize - 1) / ShardSize {
			names = append(names, fmt.Sprintf("%sg%d.%d", SessionPrefix, m.Generation, len(names)+1))
		}
	}
	if err := p.open(ctx, kernel, names...); err != nil {
		return nil, fmt.Errorf("preserve the file descriptors of %d units: %w", len(units), err)
	}
	entries, err := p.preserve(ctx, units)
	if err != nil {
		return nil, err
	}
	m.Units = append(m.Units, entries...)
	m.TimeLine = append(m.TimeLine, manifest.Mark{Name: "packed", Usec: cargo.Now().UnixMicro()})
	p.Manifest = &m
	if err := p.packManifest(ctx, kernel); err != nil {
		return nil, err
	}
	if err := store.Barrier(ctx); err != nil {
		return nil, fmt.Errorf("make the sessions safe: %w", err)
	}
	return p, nil
}

// open makes sessions and holds the device for as long as that takes.
func (p *Packed) open(ctx context.Context, kernel *luo.Kernel, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	// The device is busy for milliseconds or for a reason.
	waiting, cancel := context.WithTimeout(ctx, luo.OpenTimeout)
	defer cancel()
	device, err := kernel.Open(waiting)
	if err != nil {
		return fmt.Errorf("create session %q: %w", names[0], err)
	}
	defer device.Close()
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("create session %q: %w", name, err)
		}
		session, err := device.CreateSession(name)
		if err != nil {
			return err
		}
		p.sessions = append(p.sessions, session)
		p.names = append(p.names, name)
		if err := p.store.Push(name, session.File()); err != nil {
			return err
		}
	}
	return nil
}

// packing is a unit that is being packed into the sessions from first on.
type packing struct {
	Unit
	verify   bool
	superset map[*vault.File]bool
	first    int
}

// atOnce bounds how many units are packed at a time; the kernel has more locks in
// common than that would help.
const atOnce = 8

// preserve packs units and returns their entries in the same order. The first
// error ends it, once what other units are at is done.
func (p *Packed) preserve(parent context.Context, units []packing) ([]manifest.Unit, error) {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	entries := make([]manifest.Unit, len(units))
	var next atomic.Int64
	var packers sync.WaitGroup
	for range min(len(units), runtime.GOMAXPROCS(0), atOnce) {
		packers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(units); i = int(next.Add(1)) - 1 {
				var err error
				if entries[i], err = p.unit(ctx, units[i]); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	packers.Wait()
	if parent.Err() != nil {
		return nil, fmt.Errorf("preserve the file descriptors of %d units: %w", len(units), context.Cause(parent))
	}
	return entries, context.Cause(ctx)
}

// unit preserves one unit's files in their order.
func (p *Packed) unit(ctx context.Context, u packing) (manifest.Unit, error) {
	entry := manifest.Unit{Name: u.Name, Sessions: u.Sessions}
	fail := func(what string, f *vault.File, err error) (manifest.Unit, error) {
		return entry, fmt.Errorf("%s %q of %s: %w", what, f.Name, u.Name, err)
	}
	for i, f := range u.Files {
		if err := ctx.Err(); err != nil {
			return fail("preserve", f, err)
		}
		shard, token := u.first+i/ShardSize, uint64(i%ShardSize)+1
		if err := p.sessions[shard].PreserveFD(f.F, token); err != nil {
			return fail("preserve", f, err)
		}
		// Only now is the size final.
		facts, err := vault.Look(f.F)
		if err != nil {
			return fail("preserve", f, err)
		}
		flags, err := vault.Flags(f.F)
		if err != nil {
			return fail("preserve", f, err)
		}
		file := manifest.File{
			Name: f.Name, Session: p.names[shard], Token: token,
			Size: facts.Size, Seals: facts.Seals, Flags: flags,
			Mode: facts.Mode, UID: facts.UID, GID: facts.GID, Superset: u.superset[f],
		}
		if u.verify && facts.Seals&unix.F_SEAL_WRITE != 0 {
			if file.SHA256, err = Sum(f.F, facts.Size); err != nil {
				return fail("take the SHA-256 of", f, err)
			}
		}
		entry.Files = append(entry.Files, file)
	}
	return entry, nil
}

func (p *Packed) packManifest(ctx context.Context, kernel *luo.Kernel) error {
	data, err := manifest.Encode(p.Manifest)
	if err != nil {
		return err
	}
	f, err := memfd.Of("luod-manifest", data)
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	defer f.Close() // its session keeps it
	if err := p.open(ctx, kernel, manifest.SessionName); err != nil {
		return fmt.Errorf("preserve the manifest: %w", err)
	}
	if err := p.sessions[len(p.sessions)-1].PreserveFD(f, manifest.Token); err != nil {
		return fmt.Errorf("preserve the manifest: %w", err)
	}
	return nil
}

// Close un-preserves everything: it removes the sessions from the fd store and
// closes them here. It goes on after an error and returns all of them.
func (p *Packed) Close() error {
	var failed []error
	for i, s := range p.sessions {
		failed = append(failed, p.store.Remove(p.names[i]), s.Close())
	}
	p.sessions, p.names = nil, nil
	return errors.Join(failed...)
}

// Drop closes this process's descriptors of the sessions, as a kill would; those
// in the fd store keep everything preserved.
func (p *Packed) Drop() {
	for _, s := range p.sessions {
		s.Close()
	}
	p.sessions = nil
}

// Sessions are those that are open, by name; the map is the caller's, the sessions are
// not.
func (p *Packed) Sessions() map[string]*luo.Session {
	all := map[string]*luo.Session{}
	for i, s := range p.sessions {
		all[p.names[i]] = s
	}
	return all
}

// Sum borrows f and returns the SHA-256 of its first size bytes in hex, without
// moving its position.
func Sum(f *os.File, size int64) (string, error) {
	h := sha256.New()
	if n, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil || n != size {
		return "", fmt.Errorf("read %d of %d bytes: %w", n, size, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
