package grubenv

import "strings"

// Variable is one of GRUB's.
type Variable struct{ Name, Value string }

// Parse reads NAME=VALUE lines. A backslash makes the next character
// literal, even a newline, and '#' begins a comment and the padding
// (grub-core/lib/envblk.c).
func Parse(text string) []Variable {
	var env []Variable
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
			env = append(env, Variable{name, value})
		}
	}
	return env
}

// blanks are what separates words in an entry.
const blanks = " \t"

// Expand puts in the values of the words that are wholly a variable; one that
// isn't set is nothing, as in GRUB. Everything else stays as it is written.
func Expand(text string, env []Variable) string {
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
		if !(c >= '0' && c <= '9') && !(c|0x20 >= 'a' && c|0x20 <= 'z') && c != '_' {
			return "", false
		}
	}
	return name, name != ""
}

func lookUp(env []Variable, name string) string {
	value := ""
	for _, v := range env {
		if v.Name == name {
			value = v.Value
		}
	}
	return strings.Trim(value, blanks)
}
