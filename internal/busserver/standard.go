package busserver

import (
	"os"
	"reflect"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/printable"
)

// standard are the methods of the interfaces that every object has. They need nothing of
// luod but what it has told.
var standard = []method{
	{iface: propertiesInterface, name: "Get", args: args(in("interface", "s"), in("property", "s"), out("value", "v")), timeout: usual, perform: (*call).get},
	{iface: propertiesInterface, name: "GetAll", args: args(in("interface", "s"), out("values", "a{sv}")), timeout: usual, perform: (*call).getAll},
	{iface: propertiesInterface, name: "Set", args: args(in("interface", "s"), in("property", "s"), in("value", "v")), timeout: usual, perform: (*call).set},
	{iface: introspectInterface, name: "Introspect", args: args(out("xml", "s")), timeout: usual, perform: (*call).introspect},
	{iface: peerInterface, name: "Ping", timeout: usual, perform: func(*call) ([]any, []foreign.Descriptor, error) { return nil, nil, nil }},
	{iface: peerInterface, name: "GetMachineId", args: args(out("id", "s")), timeout: usual, perform: (*call).machineID},
}

// properties are the fields of s by name, as the bus has them.
func properties(s buslink.Status) map[string]any {
	values := map[string]any{}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		values[v.Type().Field(i).Name] = v.Field(i).Interface()
	}
	return values
}

// properties are those of now: whoever asks may have seen by other ways what luod has not
// told of yet.
func (c *call) properties() (map[string]any, error) {
	_, err := c.link.Ask(c.ctx, buslink.Sync, nil, nil, nil)
	return properties(c.news.status()), err
}

func unknownIface(iface string) error {
	return &buslink.Error{Name: unknownInterface, Text: "there is no interface " + printable.Line(iface) + " with properties; luod's is " + Interface}
}

func (c *call) get() ([]any, []foreign.Descriptor, error) {
	iface, name := c.arguments.Text(), c.arguments.Text()
	if err := c.understood(); err != nil {
		return nil, nil, err
	}
	if iface != Interface && iface != "" {
		return nil, nil, unknownIface(iface)
	}
	values, err := c.properties()
	if err != nil {
		return nil, nil, err
	}
	value, is := values[name]
	if !is {
		return nil, nil, &buslink.Error{Name: unknownProperty, Text: "there is no property " + printable.Line(name)}
	}
	return []any{dbus.MakeVariant(value)}, nil, nil
}

func (c *call) getAll() ([]any, []foreign.Descriptor, error) {
	iface := c.arguments.Text()
	if err := c.understood(); err != nil {
		return nil, nil, err
	}
	if iface != Interface && iface != "" {
		return nil, nil, unknownIface(iface)
	}
	values, err := c.properties()
	return []any{variants(values)}, nil, err
}

func variants(values map[string]any) map[string]dbus.Variant {
	all := map[string]dbus.Variant{}
	for name, value := range values {
		all[name] = dbus.MakeVariant(value)
	}
	return all
}

func (c *call) set() ([]any, []foreign.Descriptor, error) {
	return nil, nil, &buslink.Error{Name: readOnlyProperty, Text: "luod's properties can only be read"}
}

func (c *call) machineID() ([]any, []foreign.Descriptor, error) {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return nil, nil, err
	}
	return []any{strings.TrimSpace(string(id))}, nil, nil
}

func (c *call) introspect() ([]any, []foreign.Descriptor, error) {
	return []any{introspection(c.message.Path)}, nil, nil
}

// introspection is what there is at path, which is luod's object or above it.
func introspection(path string) string {
	node := &introspect.Node{Name: path}
	if path != Path {
		rest := strings.TrimPrefix(strings.TrimPrefix(Path, path), "/")
		child, _, _ := strings.Cut(rest, "/")
		node.Interfaces = []introspect.Interface{introspect.IntrospectData}
		node.Children = []introspect.Node{{Name: child}}
		return string(introspect.NewIntrospectable(node))
	}
	interfaces := map[string]*introspect.Interface{}
	var order []*introspect.Interface
	for _, m := range methods {
		name := m.iface
		if name == "" {
			name = Interface
		}
		i := interfaces[name]
		if i == nil {
			i = &introspect.Interface{Name: name}
			interfaces[name], order = i, append(order, i)
		}
		i.Methods = append(i.Methods, introspect.Method{Name: m.name, Args: m.args})
	}
	i := interfaces[Interface]
	v := reflect.TypeFor[buslink.Status]()
	for n := range v.NumField() {
		i.Properties = append(i.Properties, introspect.Property{Name: v.Field(n).Name, Type: dbus.SignatureOfType(v.Field(n).Type).String(), Access: "read"})
	}
	i.Signals = []introspect.Signal{{Name: "PrepareForLiveUpdate", Args: []introspect.Arg{{Name: "start", Type: "b"}, {Name: "generation", Type: "t"}, {Name: "deadline", Type: "t"}}}}
	interfaces[propertiesInterface].Signals = prop
	for _, i := range order {
		node.Interfaces = append(node.Interfaces, *i)
	}
	return string(introspect.NewIntrospectable(node))
}

var prop = []introspect.Signal{{Name: "PropertiesChanged", Args: []introspect.Arg{{Name: "interface", Type: "s"}, {Name: "changed", Type: "a{sv}"}, {Name: "invalidated", Type: "as"}}}}
