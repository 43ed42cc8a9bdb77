package restorer

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/packer"
)

// Sort tells sessions that came from the previous kernel from those made for the
// next. Asking for a token that no packer uses changes nothing: an incoming
// session answers ENOENT, an outgoing one EINVAL (kernel/liveupdate/luo_session.c:
// luo_ioctl_type_valid). Duplicates of one session are closed;
// of delegated ones the record tells which way they go. nameless don't tell their names.
func Sort(sessions []*luo.Session) (incoming, outgoing, delegated map[string]*luo.Session, nameless []*luo.Session) {
	incoming, outgoing, delegated = map[string]*luo.Session{}, map[string]*luo.Session{}, map[string]*luo.Session{}
	for _, s := range sessions {
		name, err := s.Name()
		if err != nil {
			nameless = append(nameless, s)
			continue
		}
		direction := incoming
		if f, err := s.RetrieveFD(^uint64(0)); err == nil {
			f.Close()
		} else if errors.Is(err, unix.EINVAL) {
			direction = outgoing
		}
		if strings.HasPrefix(name, packer.DelegatedPrefix) {
			direction = delegated // the record tells which way
		}
		if direction[name] != nil {
			s.Close()
			continue
		}
		direction[name] = s
	}
	return incoming, outgoing, delegated, nameless
}
