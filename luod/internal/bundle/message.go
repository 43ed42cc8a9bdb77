package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/liveupdate/luod/internal/scmrights"
)

// fullMessage is how much text Add puts into a message with more than one item: two
// such fit into a socket's buffer of the usual size (net.core.wmem_default, 208 KiB),
// and a luod that is older can read it (it takes 189 KiB).
const fullMessage = 96 << 10

// maxMessage bounds what is written and what is read. The longest item has 255 bytes
// of a unit's name and 4 KiB of a path, with at most six bytes in JSON for each.
const maxMessage = 1 << 20

// encode describes as many items as one message takes, and returns how many.
func encode(items []Item) (text []byte, n int, err error) {
	if len(items) == 0 {
		return nil, 0, errors.New("there are none")
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // six bytes for one
	for n < min(len(items), scmrights.Max) {
		before := b.Len()
		b.WriteByte(',')
		if n == 0 {
			b.Bytes()[0] = '['
		}
		if err := encoder.Encode(items[n]); err != nil {
			return nil, 0, fmt.Errorf("describe %q of %s: %w", items[n].Name, items[n].Owner, err)
		}
		if n > 0 && b.Len() >= fullMessage {
			b.Truncate(before)
			break
		}
		n++
	}
	b.WriteByte(']')
	if b.Len() > maxMessage {
		return nil, 0, fmt.Errorf("describe an item: it takes %d bytes, and at most %d are read", b.Len(), maxMessage)
	}
	return b.Bytes(), n, nil
}
