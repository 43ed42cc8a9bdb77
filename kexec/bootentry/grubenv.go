package bootentry

import "strings"

// grubEnvFiles are where GRUB keeps its variables.
var grubEnvFiles = []string{"boot/grub2/grubenv", "boot/grub/grubenv"}

// maxGrubEnv bounds an environment block. It has 1024 bytes (grub-editenv(1)),
// but nothing says that it can't have more.
const maxGrubEnv = 64 << 10

// variable is one of GRUB's.
type variable struct{ name, value string }

// grubEnv reads the variables, which Fedora's entries use; without such a file
// there are none. A symbolic link is followed wherever it leads, since Fedora has
// one from /boot to the ESP.
func (s System) grubEnv() []variable {
	for _, file := range grubEnvFiles {
		if text, err := readFile(s.path(file), maxGrubEnv); err == nil {
			return parseGrubEnv(string(text))
		}
	}
	return nil
}

// parseGrubEnv reads NAME=VALUE lines. A backslash makes the next character
// literal, even a newline, and '#' begins a comment and the padding
// (grub-core/lib/envblk.c).
func parseGrubEnv(text string) []variable {
	var env []variable
	for text != "" {
		var line strings.Builder
		i := 0
		for ; i < len(text) && text[i] != '\n'; i++ {
			if text[i] == '\\' && i+1 < len(text) {
				i++
			}
			line.WriteByte(text[i])
		}
		comment := text[0] == '#'
		text = text[min(i+1, len(text)):]
		if name, value, ok := strings.Cut(line.String(), "="); ok && !comment {
			env = append(env, variable{name, value})
		}
	}
	return env
}

// blanks are what separates words in an entry.
const blanks = " \t"

// expand puts in the values of the words that are wholly a variable; one that
// isn't set is nothing, as in GRUB. Everything else stays as it is written.
func expand(text string, env []variable) string {
	if !strings.Contains(text, "$") {
		return text
	}
	var out strings.Builder
	for text != "" {
		word := strings.TrimLeft(text, blanks)
		gap := text[:len(text)-len(word)]
		if i := strings.IndexAny(word, blanks); i >= 0 {
			word = word[:i]
		}
		text = text[len(gap)+len(word):]
		if name, is := variableName(word); is {
			if word = lookUp(env, name); word == "" {
				continue
			}
		}
		out.WriteString(gap + word)
	}
	return strings.Trim(out.String(), blanks)
}

// variableName takes $name and ${name}.
func variableName(word string) (string, bool) {
	name, is := strings.CutPrefix(word, "$")
	if !is {
		return "", false
	}
	if braced, is := strings.CutPrefix(name, "{"); is {
		if name, is = strings.CutSuffix(braced, "}"); !is {
			return "", false
		}
	}
	for _, c := range []byte(name) {
		if !isDigitByte(c) && !isLetterByte(c) && c != '_' {
			return "", false
		}
	}
	return name, name != ""
}

func lookUp(env []variable, name string) string {
	value := ""
	for _, v := range env {
		if v.name == name {
			value = v.value
		}
	}
	return strings.Trim(value, blanks)
}
