package journallog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"unicode"

	"github.com/coreos/go-systemd/v22/journal"
)

// handler writes a line per record with the priority that the journal
// understands (sd-daemon(3)). It drops what can't be written: after the journal
// is gone nobody listens, and luod must go on.
type handler struct {
	w     io.Writer
	attrs []slog.Attr
	// send gives a message with fields to the journal; nil if there is none.
	send func(message string, priority journal.Priority, fields map[string]string) error
}

// New returns a handler that writes to w, which is the journal unless a test says else.
func New(w io.Writer) slog.Handler {
	h := &handler{w: w}
	if is, err := journal.StderrIsJournalStream(); err == nil && is {
		h.send = journal.Send
	}
	return h
}

// messageID is the key of records that the message catalog explains; they go to
// the journal with their fields (systemd.journal-fields(7)).
const messageID = "MESSAGE_ID"

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	priority := map[slog.Level]int{slog.LevelError: 3, slog.LevelWarn: 4, slog.LevelInfo: 6}[r.Level]
	var b strings.Builder
	b.WriteString(r.Message)
	fields := map[string]string{}
	write := func(a slog.Attr) bool {
		text := a.Value.String()
		if a.Key == messageID {
			fields[messageID] = text
			return true
		}
		fields["LUOD_"+fieldName(a.Key)] = text
		if text == "" && a.Key == "message" {
			return true
		}
		if strings.ContainsAny(text, " \"\n") || text == "" {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&b, " %s=%s", a.Key, text)
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	line := strings.ReplaceAll(b.String(), "\n", " ")
	if fields[messageID] != "" && h.send != nil && h.send(line, journal.Priority(priority), fields) == nil {
		return nil
	}
	_, _ = fmt.Fprintf(h.w, "<%d>%s\n", priority, line)
	return nil
}

// fieldName makes OLD_KERNEL of oldKernel.
func fieldName(key string) string {
	var b strings.Builder
	for _, r := range key {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{w: h.w, send: h.send, attrs: append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

func (h *handler) WithGroup(string) slog.Handler { return h }
