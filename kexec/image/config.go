package image

import (
	"bufio"
	"bytes"
	"strings"
)

// Config is a kernel's configuration: option without CONFIG_ → value, "y", "m",
// or what is behind the equals sign. What is not set is missing.
type Config map[string]string

// ParseConfig reads the text of a .config. Lines that are none are skipped.
func ParseConfig(text []byte) Config {
	c := Config{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if name, is := strings.CutPrefix(name, "CONFIG_"); ok && is {
			c[name] = value
		}
	}
	return c
}

// Has says whether option is built in.
func (c Config) Has(option string) bool { return c[option] == "y" }

// Modules says whether anything is built as a module.
func (c Config) Modules() bool {
	for _, value := range c {
		if value == "m" {
			return true
		}
	}
	return false
}
