package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// mirror is the Debian mirror that this machine's own apt uses.
func mirror(ctx context.Context) (string, error) {
	site, err := readMirror(ctx)
	if err != nil || site != "" {
		return site, err
	}
	// apt knows who a site's origin is only once it has fetched its lists.
	if _, err := output(ctx, "apt-get", "update"); err != nil {
		return "", fmt.Errorf("fetch apt's lists to find the Debian mirror: %w", err)
	}
	site, err = readMirror(ctx)
	if err == nil && site == "" {
		err = errors.New("find the Debian mirror: this machine's apt sources name none with origin Debian")
	}
	return site, err
}

func readMirror(ctx context.Context) (string, error) {
	out, err := output(ctx, "apt-get", "indextargets", "--format", "$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(SITE)")
	if err != nil {
		return "", fmt.Errorf("find the Debian mirror: %w", err)
	}
	return pickMirror(out), nil
}

// pickMirror takes the first site of Debian's main archive; the security archive has another label, and not all suites.
func pickMirror(targets string) string {
	for line := range strings.Lines(targets) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) == 4 && f[0] == "Packages" && f[1] == "Debian" && f[2] == "Debian" {
			return strings.TrimSuffix(f[3], "/")
		}
	}
	return ""
}
