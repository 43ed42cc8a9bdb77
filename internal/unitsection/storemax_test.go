package unitsection

import "testing"

func TestStoreMax(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  uint32
		set   bool
	}{
		"none":              {[]string{"[Service]\nExecStart=x\n"}, 0, false},
		"one":               {[]string{"[Service]\nFileDescriptorStoreMax=8\n"}, 8, true},
		"the last counts":   {[]string{"[Service]\nFileDescriptorStoreMax=8\nFileDescriptorStoreMax=3\n", "[Service]\n FileDescriptorStoreMax = 5 \n"}, 5, true},
		"what can't be":     {[]string{"[Service]\nFileDescriptorStoreMax=8\n", "[Service]\nFileDescriptorStoreMax=\nFileDescriptorStoreMax=many\n"}, 8, true},
		"nothing at all":    {[]string{"[Service]\nFileDescriptorStoreMax=0\n"}, 0, true},
		"elsewhere":         {[]string{"[X-Y]\nFileDescriptorStoreMax=8\n"}, 0, false},
		"out of the way":    {[]string{"[Service]\n#FileDescriptorStoreMax=8\n"}, 0, false},
		"after other parts": {[]string{"[Service]\nA=b\n[Install]\nFileDescriptorStoreMax=8\n[Service]\nFileDescriptorStoreMax=2"}, 2, true},
	} {
		var files []File
		for _, f := range c.files {
			files = append(files, File{Path: "f", Data: []byte(f)})
		}
		if got, set := StoreMax(files); got != c.want || set != c.set {
			t.Errorf("%s: %d, %t", name, got, set)
		}
	}
}
