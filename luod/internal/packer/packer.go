package packer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

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
// can close or keep it.
//
// Killed anywhere in here: the sessions made so far are in the fd store, the
// record in /run says "packing", and the next start removes them, which
// un-preserves everything; the files themselves are in the vault's bundles.
func Pack(ctx context.Context, kernel *luo.Kernel, store Store, cargo Cargo) (_ *Packed, err error) {
	p := &Packed{store: store}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	m := cargo.Manifest
	for _, u := range cargo.Units {
		entry := manifest.Unit{Name: u.Name, Sessions: u.Sessions}
		var session *luo.Session
		for i, f := range u.Files {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("preserve %q of %s: %w", f.Name, u.Name, err)
			}
			if i%ShardSize == 0 {
				name := fmt.Sprintf("%sg%d.%d", SessionPrefix, m.Generation, len(p.sessions)+1)
				if session, err = p.open(ctx, kernel, name); err != nil {
					return nil, fmt.Errorf("preserve the file descriptors of %s: %w", u.Name, err)
				}
			}
			token := uint64(i%ShardSize) + 1
			if err := session.PreserveFD(f.F, token); err != nil {
				return nil, fmt.Errorf("preserve %q of %s: %w", f.Name, u.Name, err)
			}
			// Only now is the size final.
			facts, err := vault.Look(f.F)
			if err != nil {
				return nil, fmt.Errorf("preserve %q of %s: %w", f.Name, u.Name, err)
			}
			file := manifest.File{
				Name: f.Name, Session: p.names[len(p.names)-1], Token: token,
				Size: facts.Size, Seals: facts.Seals, Flags: facts.Flags,
			}
			if (cargo.Verify || u.Verify) && facts.Seals&unix.F_SEAL_WRITE != 0 {
				if file.SHA256, err = Sum(f.F, facts.Size); err != nil {
					return nil, fmt.Errorf("take the SHA-256 of %q of %s: %w", f.Name, u.Name, err)
				}
			}
			entry.Files = append(entry.Files, file)
		}
		m.Units = append(m.Units, entry)
	}
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

func (p *Packed) open(ctx context.Context, kernel *luo.Kernel, name string) (*luo.Session, error) {
	// The device is busy for milliseconds or for a reason.
	ctx, cancel := context.WithTimeout(ctx, luo.OpenTimeout)
	defer cancel()
	session, err := kernel.CreateSession(ctx, name)
	if err != nil {
		return nil, err
	}
	p.sessions = append(p.sessions, session)
	p.names = append(p.names, name)
	return session, p.store.Push(name, session.File())
}

func (p *Packed) packManifest(ctx context.Context, kernel *luo.Kernel) error {
	data, err := manifest.Encode(p.Manifest)
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("luod-manifest", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("write the manifest: make a memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "luod-manifest")
	defer f.Close() // its session keeps it
	if _, err := io.Copy(f, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	seals := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal the manifest: %w", err)
	}
	session, err := p.open(ctx, kernel, manifest.SessionName)
	if err != nil {
		return fmt.Errorf("preserve the manifest: %w", err)
	}
	if err := session.PreserveFD(f, manifest.Token); err != nil {
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

// Sum borrows f and returns the SHA-256 of its first size bytes in hex, without
// moving its position.
func Sum(f *os.File, size int64) (string, error) {
	h := sha256.New()
	if n, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil || n != size {
		return "", fmt.Errorf("read %d of %d bytes: %w", n, size, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
