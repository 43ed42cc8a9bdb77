package kexec

import (
	"slices"
	"strconv"
	"strings"
)

// CommandLine is a kernel command line, one parameter each, quotes included.
// Every method returns a new one.
type CommandLine []string

// ParseCommandLine splits at white space outside double quotes, as next_arg in
// lib/cmdline.c of the kernel does.
func ParseCommandLine(text string) CommandLine {
	var line CommandLine
	var word strings.Builder
	quoted := false
	flush := func() {
		if word.Len() > 0 {
			line = append(line, word.String())
			word.Reset()
		}
	}
	for _, c := range []byte(text) {
		switch {
		case c == '"':
			quoted = !quoted
			word.WriteByte(c)
		case !quoted && (c == ' ' || c >= '\t' && c <= '\r'):
			flush()
		default:
			word.WriteByte(c)
		}
	}
	flush()
	return line
}

func (l CommandLine) String() string { return strings.Join(l, " ") }

// split returns the kernel's parameters and what follows "--", which is init's
// (parse_args in kernel/params.c; quotes around it make no difference).
func (l CommandLine) split() (kernel, init CommandLine) {
	i := slices.IndexFunc(l, func(w string) bool { return strings.Trim(w, `"`) == "--" })
	if i >= 0 {
		return l[:i], l[i:]
	}
	return l, nil
}

// key is a parameter's name without quotes; the kernel takes - and _ as one.
func key(word string) string {
	k, _, _ := strings.Cut(strings.Trim(word, `"`), "=")
	return strings.ReplaceAll(k, "-", "_")
}

func (l CommandLine) without(keys ...string) CommandLine {
	kernel, init := l.split()
	kept := CommandLine{}
	for _, w := range kernel {
		if !slices.Contains(keys, key(w)) {
			kept = append(kept, w)
		}
	}
	return append(kept, init...)
}

// with adds words at the end of the kernel's, where they override what precedes.
// A quote that is never closed would swallow them, so they go before such a word,
// which can only be the last.
func (l CommandLine) with(words ...string) CommandLine {
	kernel, init := l.split()
	if n := len(kernel); n > 0 && strings.Count(kernel[n-1], `"`)%2 != 0 {
		return slices.Concat(kernel[:n-1], words, kernel[n-1:], init)
	}
	return slices.Concat(kernel, words, init)
}

// Words are those by which a program tells its successor something: they count for one
// boot only.
type Words struct {
	// Number is the key of WithNumber.
	Number string
	// Target is the unit that StartWith names.
	Target string
}

// Clean drops what a boot loader or an earlier update, with words, added for that boot
// only.
func (l CommandLine) Clean(words Words) CommandLine {
	l = l.without("BOOT_IMAGE", "initrd", words.Number)
	for {
		i := slices.IndexFunc(l, func(w string) bool { return strings.Trim(w, `"`) == unitKey+words.Target })
		if i < 0 {
			return l
		}
		n := 1
		if rest := l[i+1:]; len(rest) >= len(silentTerminal) && slices.Equal(rest[:len(silentTerminal)], silentTerminal) {
			n += len(silentTerminal)
		}
		l = slices.Delete(l, i, i+n)
	}
}

// otherTargets are the words by which a command line names what to boot into
// (systemd: src/core/main.c, proc-cmdline.c: runlevel_to_target).
var otherTargets = []string{"systemd.unit", "rescue", "emergency", "single", "s", "S", "_s", "_b", "1", "2", "3", "4", "5"}

// silentTerminal describes a terminal as systemd and what runs on it take one for
// that doesn't say what it is (systemd(1), Kernel Command Line). Not told so, PID 1
// asks the terminal of a serial console for its type and size, and waits for each of
// three answers for 333 ms (systemd: src/basic/terminal-util.c,
// CONSOLE_REPLY_WAIT_USEC; measured with 262), before it does anything else.
var silentTerminal = CommandLine{"systemd.tty.term.console=vt220", "systemd.tty.rows.console=24", "systemd.tty.columns.console=80"}

// unitKey has systemd start a unit in place of default.target (systemd(1), Kernel Command
// Line).
const unitKey = "systemd.unit="

// StartWith has the next boot begin with a target, unless l says itself what to boot into. Where /dev/console is no screen of the
// machine's own, PID 1 is told what terminal to expect there, unless l tells it.
func (l CommandLine) StartWith(target string) CommandLine {
	kernel, _ := l.split()
	if slices.ContainsFunc(kernel, func(w string) bool { return slices.Contains(otherTargets, key(w)) }) {
		return l
	}
	l = l.with(unitKey + target)
	if l.serialConsole() && !slices.ContainsFunc(kernel, describesTerminal) {
		l = l.with(silentTerminal...)
	}
	return l
}

// serialConsole says whether the last console= names something else than a virtual
// terminal. That one is /dev/console (the kernel's admin-guide/serial-console.rst).
func (l CommandLine) serialConsole() bool {
	value, _ := l.Value("console")
	device, _, _ := strings.Cut(value, ",")
	number, isTTY := strings.CutPrefix(device, "tty")
	_, err := strconv.Atoi(number)
	return device != "" && !(isTTY && err == nil)
}

// describesTerminal says whether a word tells PID 1 of the terminal at /dev/console.
func describesTerminal(word string) bool {
	k := key(word)
	return k == "TERM" || strings.HasPrefix(k, "systemd.tty.") && strings.HasSuffix(k, ".console")
}

// surviving are the parameters without which the next kernel may boot another
// system than this one, or lose its crash dumps, that a boot entry may lack.
var surviving = []string{"root", "rootflags", "rootfstype"}

// Inherit adds from the running command line what must survive where l doesn't
// say: the root file system, unless l names one, and crashkernel=.
func (l CommandLine) Inherit(running CommandLine) CommandLine {
	own, _ := l.split()
	from, _ := running.split()
	says := func(line CommandLine, k string) bool {
		return slices.ContainsFunc(line, func(w string) bool { return key(w) == k })
	}
	var add CommandLine
	for _, w := range from {
		k := key(w)
		switch {
		case slices.Contains(surviving, k) && !says(own, "root"),
			(k == "ro" || k == "rw") && !says(own, "root") && !says(own, "ro") && !says(own, "rw"),
			k == "crashkernel" && !says(own, k):
			add = append(add, w)
		}
	}
	return l.with(add...)
}

// Value returns what the last key=value says, and whether there is one.
func (l CommandLine) Value(name string) (string, bool) {
	kernel, _ := l.split()
	for _, w := range slices.Backward(kernel) {
		if key(w) == name {
			_, value, _ := strings.Cut(strings.ReplaceAll(w, `"`, ""), "=")
			return value, true
		}
	}
	return "", false
}

// EnableLiveUpdate makes kho=on and liveupdate=on the only words on the matter.
func (l CommandLine) EnableLiveUpdate() CommandLine {
	return l.without("kho", "liveupdate").with("kho=on", "liveupdate=on")
}

// WithNumber makes key=n the only word of that key: it tells the next boot's programs
// what this one's have counted.
func (l CommandLine) WithNumber(key string, n uint64) CommandLine {
	return l.without(key).with(key + "=" + strconv.FormatUint(n, 10))
}

// Number returns what a predecessor has put there by WithNumber, and false if there is no
// such word, or no number in it.
func (l CommandLine) Number(key string) (uint64, bool) {
	text, ok := l.Value(key)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}
