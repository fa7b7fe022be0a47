package ginpo_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/ginpo"
)

// TestOutcomes checks what FlushOn is told when gin's own ways of answering
// are used, in handlers and in middlewares around the handler.
func TestOutcomes(t *testing.T) {
	recovery := gin.RecoveryWithWriter(io.Discard)
	// answering makes answers of the errors that handlers have noted.
	answering := func(c *gin.Context) {
		c.Next()
		if len(c.Errors) > 0 {
			c.AbortWithStatus(http.StatusBadGateway)
		}
	}
	// hiding recovers without an answer, as gin's recovery does for an abort since
	// version 1.12.
	hiding := func(c *gin.Context) {
		defer func() { _ = recover() }()
		c.Next()
	}
	broken := errors.New("broken")
	panics := func(*gin.Context) { panic(broken) }
	aborts := func(*gin.Context) { panic(http.ErrAbortHandler) }
	tests := map[string]struct {
		front, behind []gin.HandlerFunc
		handler       gin.HandlerFunc
		want          core.Outcome
		code          int
	}{
		"JSON":            {handler: func(c *gin.Context) { c.JSON(201, gin.H{}) }, want: core.Outcome{Status: 201}, code: 201},
		"Status":          {handler: func(c *gin.Context) { c.Status(503) }, want: core.Outcome{Status: 503}, code: 503},
		"LastStatus":      {handler: func(c *gin.Context) { c.Status(503); c.Status(202) }, want: core.Outcome{Status: 202}, code: 202},
		"AbortWithStatus": {handler: func(c *gin.Context) { c.AbortWithStatus(500) }, want: core.Outcome{Status: 500}, code: 500},
		"AbortWithError":  {handler: func(c *gin.Context) { _ = c.AbortWithError(502, broken) }, want: core.Outcome{Status: 502}, code: 502},
		"AbortJSON":       {handler: func(c *gin.Context) { c.AbortWithStatusJSON(422, gin.H{}) }, want: core.Outcome{Status: 422}, code: 422},
		"WrittenBefore":   {handler: func(c *gin.Context) { c.String(200, "x"); c.AbortWithStatus(500) }, want: core.Outcome{Status: 200}, code: 200},
		"ErrorOnly":       {handler: func(c *gin.Context) { _ = c.Error(broken) }, want: core.Outcome{Status: 200}, code: 200},
		"ErrorAnsweredBehind": {
			behind: []gin.HandlerFunc{answering}, handler: func(c *gin.Context) { _ = c.Error(broken) },
			want: core.Outcome{Status: 502}, code: 502,
		},
		"ErrorAnsweredInFront": { // too late to be seen
			front: []gin.HandlerFunc{answering}, handler: func(c *gin.Context) { _ = c.Error(broken) },
			want: core.Outcome{Status: 200}, code: 502,
		},
		"AbortedBehind": {
			behind:  []gin.HandlerFunc{func(c *gin.Context) { c.Next(); c.AbortWithStatus(503) }},
			handler: func(*gin.Context) {}, want: core.Outcome{Status: 503}, code: 503,
		},
		"RecoveredInFront": {front: []gin.HandlerFunc{recovery}, handler: panics, code: 500},
		"AbortInFront":     {front: []gin.HandlerFunc{hiding}, handler: aborts, code: 200},
		"AbortBehind":      {behind: []gin.HandlerFunc{hiding}, handler: aborts, want: core.Outcome{Status: 200}, code: 200}, // as documented
		"RecoveredBehind":  {behind: []gin.HandlerFunc{recovery}, handler: panics, want: core.Outcome{Status: 500}, code: 500},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client, _ := newClient(t)
			var outcomes []core.Outcome
			options := ginpo.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool {
				outcomes = append(outcomes, outcome)
				return true
			}}
			engine := newEngine(false)
			engine.Use(test.front...)
			engine.Use(ginpo.Middleware(client, options))
			engine.Use(func(c *gin.Context) {
				_, err := ginpo.FromContext(c).Publish(c.Request.Context(), "orders", map[string]int{})
				assert.NoError(t, err)
			})
			engine.Use(test.behind...)
			engine.GET("/", test.handler)
			assert.Equal(t, test.code, request(t, engine, http.MethodGet, "/").Code)
			if test.want == (core.Outcome{}) {
				assert.Empty(t, outcomes, "a panic drops the messages without a question")
				return
			}
			assert.Equal(t, []core.Outcome{test.want}, outcomes)
		})
	}
}
