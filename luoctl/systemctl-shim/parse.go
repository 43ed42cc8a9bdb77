package main

import "strings"

const verb = "live-update"

// What takes a value of its own (systemd: src/systemctl/systemctl.c,
// systemctl_parse_argv), so that a value isn't taken for the verb.
const shortWithValue = "tpPnosHMC"

var longWithValue = map[string]bool{
	"--type": true, "--state": true, "--property": true, "--value-of": true, "--host": true, "--machine": true,
	"--signal": true, "--what": true, "--output": true, "--lines": true, "--root": true, "--image": true, "--image-policy": true,
	"--when": true, "--message": true, "--job-mode": true, "--kill-whom": true, "--kill-who": true, "--kill-value": true,
	"--kill-subgroup": true, "--preset-mode": true, "--timestamp": true, "--check-inhibitors": true, "--reboot-argument": true,
	"--boot-loader-menu": true, "--boot-loader-entry": true, "--drop-in": true, "--capsule": true, "--kernel-cmdline": true,
}

// parse finds out whether live-update is the verb, and translates the options to
// luoctl's. As with systemctl they may stand before and after the verb.
func parse(argv []string) (args []string, path, err string) {
	out := []string{"luoctl", verb}
	is, ended := false, false
	for i := 1; i < len(argv); i++ {
		arg := argv[i]
		switch {
		case ended || arg == "-" || !strings.HasPrefix(arg, "-"):
			if !is && arg != verb {
				return argv, "", "" // another verb, with that as an argument
			}
			if is {
				out = append(out, arg)
			}
			is = true
		case arg == "--":
			ended = true
		case strings.HasPrefix(arg, "--"):
			name, value, has := strings.Cut(arg, "=")
			if longWithValue[name] && !has {
				if i++; i == len(argv) {
					return argv, "", "" // let the real one complain
				}
				value = argv[i]
			}
			if text, why := long(name, value); why != "" {
				err = why
			} else if text != "" {
				out = append(out, text)
			}
		default:
			for j, letter := range arg[1:] {
				if strings.ContainsRune(shortWithValue, letter) {
					if j == len(arg)-2 {
						i++
					}
					err = refusal("-" + string(letter))
					break
				}
				if text, why := short(letter); why != "" {
					err = why
				} else if text != "" {
					out = append(out, text)
				}
			}
		}
	}
	if !is {
		return argv, "", ""
	}
	return out, luoctl, err
}

func long(name, value string) (text, err string) {
	switch name {
	case "--when", "--message":
		return name + "=" + value, ""
	case "--no-block", "--no-wall", "--fast", "--dry-run", "--ignore-inhibitors", "--no-ask-password", "--help":
		return name, ""
	case "--check-inhibitors":
		switch value {
		case "no":
			return "--ignore-inhibitors", ""
		case "yes", "auto":
			return "", "" // luod always checks
		}
		return "", "--check-inhibitors= is yes, no or auto, and not " + value
	case "--no-pager", "--quiet", "--system":
		return "", ""
	}
	return "", refusal(name)
}

func short(letter rune) (text, err string) {
	switch letter {
	case 'i':
		return "--ignore-inhibitors", ""
	case 'h':
		return "--help", ""
	case 'q':
		return "", ""
	}
	return "", refusal("-" + string(letter))
}

// refusal says why an option of systemctl's doesn't go with this verb.
func refusal(name string) string {
	switch name {
	case "-H", "--host", "-M", "--machine", "-C", "--capsule", "--user", "--global", "--root", "--image":
		return name + ": a live update can only be started for the system that this runs on"
	case "-f", "--force":
		return name + ": a live update can't leave its checks out; name the one that may fail: luoctl live-update --force=CHECK"
	}
	return name + " does not go with " + verb + "; see luoctl(1)"
}
