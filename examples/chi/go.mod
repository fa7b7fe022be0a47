module github.com/postoffice-go/postoffice/examples/chi

go 1.26.0

require (
	github.com/go-chi/chi/v5 v5.2.0
	github.com/postoffice-go/postoffice v0.0.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/avast/retry-go/v4 v4.7.0 // indirect
	github.com/felixge/httpsnoop v1.1.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/sony/gobreaker/v2 v2.4.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/postoffice-go/postoffice => ../..
