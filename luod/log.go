package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
)

// handler writes a line per record with the priority that the journal
// understands (sd-daemon(3)). It drops what can't be written: after the journal
// is gone nobody listens, and luod must go on.
type handler struct {
	w     io.Writer
	attrs []slog.Attr
}

func newHandler(w io.Writer) slog.Handler { return &handler{w: w} }

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	priority := map[slog.Level]int{slog.LevelError: 3, slog.LevelWarn: 4, slog.LevelInfo: 6}[r.Level]
	var b strings.Builder
	fmt.Fprintf(&b, "<%d>%s", priority, r.Message)
	write := func(a slog.Attr) bool {
		text := a.Value.String()
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
	b.WriteByte('\n')
	_, _ = io.WriteString(h.w, strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\n", " ")+"\n")
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{w: h.w, attrs: append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

func (h *handler) WithGroup(string) slog.Handler { return h }
