package core_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

func ExampleSettingsFromMap() {
	// What a YAML decoder makes of:
	//
	//	url: http://postoffice:4000
	//	topics: [orders]
	//	timeout: 0.3
	//	bulk_timeout: 10
	//	consumers:
	//	  - topic: payments
	//	    target: http://shop:8080/payments
	//	    timeout: 10s
	settings := map[string]any{
		"url":          "http://postoffice:4000",
		"topics":       []any{"orders"},
		"timeout":      0.3,
		"bulk_timeout": 10,
		"consumers": []any{
			map[string]any{"topic": "payments", "target": "http://shop:8080/payments", "timeout": "10s"},
		},
	}
	config, err := core.SettingsFromMap(settings)
	fmt.Println(err)
	fmt.Println(config.URL, config.Topics, config.Timeout, config.BulkTimeout, config.Consumers[0].Timeout)
	// Output:
	// <nil>
	// http://postoffice:4000 [orders] 300ms 10s 10s
}

func TestSettingsFromMapReadsEveryKey(t *testing.T) {
	var settings map[string]any
	require.NoError(t, json.Unmarshal([]byte(allSettings), &settings))
	config, err := core.SettingsFromMap(settings)
	require.NoError(t, err)
	assert.Equal(t, allConfig(), config)

	var numbers map[string]any
	decoder := json.NewDecoder(strings.NewReader(allSettings))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&numbers))
	config, err = core.SettingsFromMap(numbers)
	require.NoError(t, err)
	assert.Equal(t, allConfig(), config)

	for _, empty := range []map[string]any{nil, {}} {
		config, err = core.SettingsFromMap(empty)
		require.NoError(t, err)
		assert.Equal(t, core.Config{}, config)
	}
}

func TestSettingsFromMapTakesGoTypes(t *testing.T) {
	type name string
	type section map[string]any
	limit, topics := 100, []name{"a", "b"}
	config, err := core.SettingsFromMap(map[string]any{
		"url": name("http://us:pw@po"), "Topics": &topics, "origin_host": "app", "RECOVERY_PATH": "/r/",
		"recovery_enabled": true, "allow_open_recovery": true, "metadata_in_payload": true, "setup_required": true,
		"timeout": float32(0.3), "bulk_timeout": 500 * time.Millisecond, "bulk_limit": &limit,
		"posts_per_topic": int8(-1), "max_posts": uint64(7), "relay_rate": 200.0,
		"consumers": []any{
			map[any]any{"topic": "a", "target": "http://app/a", "type": core.HTTP, "from_now": true, "timeout": 10, "retry": time.Minute},
			section{"topic": "b", "target": "b", "type": "pubsub", "chunk_size": int32(20), "paused": true},
		},
	})
	require.NoError(t, err)
	assert.Equal(t, allConfig(), config)
}

func TestSettingsFromMapFaults(t *testing.T) {
	var nothing *int
	for name, test := range map[string]struct {
		settings       map[string]any
		field, problem string
	}{
		"unknown key":        {map[string]any{"timout": 1}, "settings", `unknown key "timout"; did you mean TIMEOUT?`},
		"key that is a URL":  {map[string]any{"http://us:SECRET@po": 1}, "settings", "unknown key (not shown)"},
		"key in two cases":   {map[string]any{"url": "SECRET", "URL": "SECRET"}, "URL", "is given twice, as URL and as url"},
		"nil":                {map[string]any{"topics": nil}, "TOPICS", "is null; it must be a list, or left out"},
		"nil pointer":        {map[string]any{"bulk_limit": nothing}, "BULK_LIMIT", "is null"},
		"wrong type":         {map[string]any{"bulk_limit": "SECRET"}, "BULK_LIMIT", "must be a whole number, not a string"},
		"fraction":           {map[string]any{"bulk_limit": 5.5}, "BULK_LIMIT", "must be a whole number"},
		"infinite":           {map[string]any{"timeout": math.Inf(1)}, "TIMEOUT", "is not a finite number"},
		"no number":          {map[string]any{"timeout": json.Number("SECRET")}, "TIMEOUT", "is not a number"},
		"negative duration":  {map[string]any{"timeout": -time.Second}, "TIMEOUT", "is negative"},
		"time":               {map[string]any{"topics": []any{"a", time.Unix(0, 0)}}, "TOPICS[1]", "has the Go type time.Time, which settings do not have"},
		"function":           {map[string]any{"url": func() {}}, "URL", "has the Go type func()"},
		"not UTF-8":          {map[string]any{"url": "SECRET\xff"}, "URL", "is not valid UTF-8"},
		"key not a string":   {map[string]any{"consumers": []any{map[any]any{1: "SECRET"}}}, "CONSUMERS[0]", "has a key that is not a string"},
		"key nil":            {map[string]any{"consumers": []any{map[any]any{nil: "SECRET"}}}, "CONSUMERS[0]", "has a key that is not a string"},
		"key of a consumer":  {map[string]any{"consumers": []any{map[any]any{"tagret": "SECRET"}}}, "CONSUMERS[0]", `unknown key "tagret"; did you mean target?`},
		"value of consumer":  {map[string]any{"consumers": []any{map[string]any{"TIMEOUT": make(chan int)}}}, "CONSUMERS[0].timeout", "has the Go type chan int"},
		"consumer, two keys": {map[string]any{"consumers": []any{map[string]any{"topic": "", "Topic": ""}}}, "CONSUMERS[0].topic", "as Topic and as topic"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := core.SettingsFromMap(test.settings)
			assert.Equal(t, core.Config{}, config)
			found := faultsOf(t, err)
			assert.Contains(t, found[test.field], test.problem, "%v", found)
			assert.Len(t, found, 1)
			assert.NotContains(t, err.Error(), "SECRET")
		})
	}
}

func TestSettingsFromMapEndsForAMapWithinItself(t *testing.T) {
	loop := map[string]any{}
	loop["consumers"] = []any{loop}
	_, err := core.SettingsFromMap(loop)
	assert.ErrorContains(t, err, "is nested too deep")
	var itself any
	itself = &itself
	_, err = core.SettingsFromMap(map[string]any{"url": itself})
	assert.Contains(t, faultsOf(t, err)["URL"], "is nested too deep")
	many := map[string]any{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		many[name] = many
	}
	_, err = core.SettingsFromMap(many)
	assert.Equal(t, map[string]string{"settings": "has more than 100000 values"}, faultsOf(t, err))
}

func TestSettingsFromMapTellsAllFaults(t *testing.T) {
	_, err := core.SettingsFromMap(map[string]any{
		"url": 1, "topics": []any{time.Time{}, "a", func() {}}, "timout": 1, "timeout": math.NaN(), "bulk_timeout": "soon",
		"consumers": []any{map[any]any{"topic": 1}, map[any]any{true: 1, "target": 2}},
	})
	found := faultsOf(t, err)
	for _, field := range []string{"URL", "TOPICS[0]", "TOPICS[2]", "settings", "TIMEOUT", "BULK_TIMEOUT", "CONSUMERS[1]"} {
		assert.Contains(t, found, field)
	}
}
