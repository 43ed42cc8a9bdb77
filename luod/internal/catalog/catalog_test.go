package catalog

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheCatalogExplainsEveryMessage(t *testing.T) {
	source, err := os.ReadFile("catalog.go")
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := os.ReadFile("../../../packaging/luod.catalog")
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`"([0-9a-f]{32})"`).FindAllSubmatch(source, -1)
	if len(ids) == 0 {
		t.Fatal("there are no messages")
	}
	for _, id := range ids {
		if n := strings.Count(string(catalog), "\n-- "+string(id[1])+"\nSubject: "); n != 1 {
			t.Errorf("%s is explained %d times", id[1], n)
		}
	}
}
