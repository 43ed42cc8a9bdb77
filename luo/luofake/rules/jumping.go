package rules

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// jumping are the rules about what the next kernel has.
var jumping = []Rule{
	carried("a file comes back with contents, size, position and seals", cargo{
		flags: unix.MFD_ALLOW_SEALING, content: "hello", seals: unix.F_SEAL_SHRINK | unix.F_SEAL_WRITE,
	}),
	carried("a file that can't be sealed comes back so", cargo{content: "plain", wantSeals: unix.F_SEAL_SEAL}),
	carried("an empty file comes back empty", cargo{flags: unix.MFD_ALLOW_SEALING}),
	carried("a file of holes comes back filled", cargo{flags: unix.MFD_ALLOW_SEALING, size: 1 << 20}),
	carried("a private file comes back as everybody's", cargo{flags: unix.MFD_ALLOW_SEALING, content: "x", mode: 0o600}),
	carried("a read-only descriptor comes back writable", cargo{flags: unix.MFD_ALLOW_SEALING, content: "hello", reopen: true, access: unix.O_RDONLY}),
	carried("a write-only descriptor comes back readable", cargo{flags: unix.MFD_ALLOW_SEALING, content: "hello", reopen: true, access: unix.O_WRONLY}),
	// memfd.c: memfd_add_seals, on an inode that may be executed.
	carried("F_SEAL_EXEC brings all write seals along", cargo{
		flags: unix.MFD_NOEXEC_SEAL, content: "x", wantSeals: unix.F_SEAL_EXEC | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE,
		after: func(f *os.File) error {
			return firstOf(
				wants("take execution away", unix.Fchmod(int(f.Fd()), 0o600), unix.EPERM),
				wants("change another bit", unix.Fchmod(int(f.Fd()), 0o711), nil),
			)
		},
	}),
	{Name: "the position is that of the last moment", Before: func(t *Try) error { // memfd_luo.c: memfd_luo_freeze
		s, err := t.create("rule-position")
		if err != nil {
			return err
		}
		f, err := t.memfd(0, "hello")
		if err == nil {
			err = s.PreserveFD(f, 1)
		}
		if err == nil {
			_, err = f.Seek(2, io.SeekStart)
		}
		return err
	}, After: func(t *Try) error {
		s, err := t.retrieve("rule-position")
		if err != nil {
			return err
		}
		f, err := t.fetch(s, 1)
		if err != nil {
			return err
		}
		if rest, err := io.ReadAll(f); err != nil || string(rest) != "llo" {
			return fmt.Errorf("from its position on it has %q, %v", rest, err)
		}
		return nil
	}},
	{Name: "sessions without a file come too, and those that were closed don't", Before: func(t *Try) error {
		for _, name := range []string{"rule-empty-1", "rule-empty-2"} {
			if _, err := t.create(name); err != nil {
				return err
			}
		}
		s, err := t.create("rule-closed")
		if err != nil {
			return err
		}
		f, err := t.memfd(0, "x")
		if err == nil {
			err = s.PreserveFD(f, 1)
		}
		s.Close()
		return err
	}, After: func(t *Try) error {
		for _, name := range []string{"rule-empty-1", "rule-empty-2"} {
			s, err := t.retrieve(name)
			if err != nil {
				return err
			}
			if got, err := s.Name(); err != nil || got != name {
				return fmt.Errorf("it is called %q, %v", got, err)
			}
			_, none := s.RetrieveFD(1)
			if err := firstOf(wants("a file of it", none, unix.ENOENT), wants("finish it", s.Finish(), nil)); err != nil {
				return err
			}
		}
		_, err := t.retrieve("rule-closed")
		return wants("the closed one", err, unix.ENOENT)
	}},
	{Name: "sessions keep their files apart", Before: func(t *Try) error {
		for name, texts := range apart {
			s, err := t.create(name)
			if err != nil {
				return err
			}
			for token, text := range texts {
				f, err := t.memfd(0, text)
				if err == nil {
					err = s.PreserveFD(f, uint64(token))
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}, After: func(t *Try) error {
		for name, texts := range apart {
			s, err := t.retrieve(name)
			if err != nil {
				return err
			}
			for token, text := range texts {
				f, err := t.fetch(s, uint64(token))
				if err == nil {
					err = content(f, text)
				}
				if err != nil {
					return fmt.Errorf("file %d of %s: %w", token, name, err)
				}
			}
			if err := s.Finish(); err != nil {
				return err
			}
		}
		return nil
	}},
	{Name: "a session is retrieved once, its files as often as one likes", Before: func(t *Try) error {
		return t.packOne("rule-again")
	}, After: func(t *Try) error { // luo_file.c: luo_retrieve_file
		s, err := t.retrieve("rule-again")
		if err != nil {
			return err
		}
		_, again := t.retrieve("rule-again")
		first, err := t.fetch(s, 1)
		if err != nil {
			return err
		}
		second, err := t.fetch(s, 1)
		if err != nil {
			return err
		}
		a, err := stat(first)
		if err != nil {
			return err
		}
		b, err := stat(second)
		if err != nil {
			return err
		}
		if a.Ino != b.Ino {
			return fmt.Errorf("they are two files")
		}
		_, unknown := s.RetrieveFD(2)
		s.Close()
		_, closed := t.retrieve("rule-again")
		return firstOf(
			wants("retrieve it again", again, unix.EINVAL), wants("another token", unknown, unix.ENOENT),
			wants("retrieve it after it was closed", closed, unix.ENOENT),
			content(first, "rule-again"),
		)
	}},
	{Name: "a restored file goes on when its session is finished", Before: func(t *Try) error {
		return t.packOne("rule-on")
	}, After: func(t *Try) error {
		in, err := t.retrieve("rule-on")
		if err != nil {
			return err
		}
		out, err := t.create("rule-on") // incoming ones have names of their own
		if err != nil {
			return err
		}
		f, err := t.fetch(in, 1)
		if err != nil {
			return err
		}
		other, err := t.memfd(0, "y")
		if err != nil {
			return err
		}
		before := firstOf(
			wants("before that", out.PreserveFD(f, 1), unix.EBUSY),
			wants("change its size", t.Truncate(f, 100), nil),
			wants("into an incoming session", in.PreserveFD(other, 2), unix.EINVAL),
		)
		finished := in.Finish()
		_, gone := in.RetrieveFD(1)
		return firstOf(before, wants("finish it", finished, nil), wants("retrieve it then", gone, unix.ENOENT), wants("preserve it then", out.PreserveFD(f, 1), nil))
	}},
}

// apart are files by their session.
var apart = map[string][]string{
	"rule-apart-1": {"Data for session files 1"},
	"rule-apart-2": {"First file for session files 2", "Second file for session files 2"},
}

func (t *Try) packOne(session string) error {
	s, err := t.create(session)
	if err != nil {
		return err
	}
	f, err := t.memfd(0, session)
	if err != nil {
		return err
	}
	return s.PreserveFD(f, 1)
}

// cargo is one file, and what it comes back as.
type cargo struct {
	flags   int
	content string
	size    int64
	seals   int
	mode    uint32
	// reopen has it opened again with access, which is given.
	reopen bool
	access int
	// wantSeals are those that it comes back with, if they are others.
	wantSeals int
	after     func(f *os.File) error
}

// numbered counts the rules that carried made, whose sessions need names.
var numbered int

// carried is the rule that what comes back is open for both, is of whoever retrieved it,
// has mode 0777, and has what c says.
func carried(name string, c cargo) Rule {
	numbered++
	session := fmt.Sprintf("rule-carried-%d", numbered)
	return Rule{Name: name, Before: func(t *Try) error {
		s, err := t.create(session)
		if err != nil {
			return err
		}
		f, err := t.memfd(c.flags, c.content)
		if err != nil {
			return err
		}
		if c.size > 0 {
			if err := f.Truncate(c.size); err != nil {
				return err
			}
		}
		if c.mode != 0 {
			if err := unix.Fchmod(int(f.Fd()), c.mode); err != nil {
				return err
			}
			if os.Geteuid() == 0 {
				if err := unix.Fchown(int(f.Fd()), 1001, 1002); err != nil {
					return err
				}
			}
		}
		if err := addSeals(f, c.seals); c.seals != 0 && err != nil {
			return err
		}
		given := f
		if c.reopen {
			if given, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), c.access, 0); err != nil {
				return err
			}
			t.keep(given)
		}
		return s.PreserveFD(given, 9)
	}, After: func(t *Try) error {
		s, err := t.retrieve(session)
		if err != nil {
			return err
		}
		f, err := t.fetch(s, 9)
		if err != nil {
			return err
		}
		st, err := stat(f)
		if err != nil {
			return err
		}
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		fdFlags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		if err != nil {
			return err
		}
		got, err := seals(f)
		if err != nil {
			return err
		}
		position, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		wantPosition := int64(len(c.content))
		if c.reopen {
			wantPosition = 0
		}
		want := c.content + strings.Repeat("\x00", max(0, int(c.size)-len(c.content)))
		wantSeals := c.seals | c.wantSeals
		switch {
		case st.Mode != unix.S_IFREG|0o777 || int(st.Uid) != os.Geteuid():
			return fmt.Errorf("it has the mode %#o and is of %d", st.Mode, st.Uid)
		case flags&unix.O_ACCMODE != unix.O_RDWR || fdFlags&unix.FD_CLOEXEC == 0:
			return fmt.Errorf("its flags are %#x and %#x", flags, fdFlags)
		case got != wantSeals:
			return fmt.Errorf("its seals are %#x, want %#x", got, wantSeals)
		case position != wantPosition:
			return fmt.Errorf("its position is %d, want %d", position, wantPosition)
		case st.Blocks*512 < st.Size:
			return fmt.Errorf("it has %d bytes of %d", st.Blocks*512, st.Size)
		}
		if err := content(f, want); err != nil || c.after == nil {
			return err
		}
		return c.after(f)
	}}
}

var _ Kernel = Running{}
