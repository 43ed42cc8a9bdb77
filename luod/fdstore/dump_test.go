package fdstore

import "testing"

func TestWhatIsCarried(t *testing.T) {
	for path, is := range map[string]bool{"/memfd:table (deleted)": true, "anon_inode:[luo_session] x": true, "socket:[12]": false, "/var/log/x": false, "": false} {
		if (Stored{Path: path}).Carried() != is {
			t.Errorf("%q: %t", path, !is)
		}
	}
}
