//go:build !shopify

package main

import "github.com/IBM/sarama"

// adapt: sarama of this age asks for the broker's versions and logs in by requests that came with Kafka 1.0, and
// refuses to send these where Config.Version is older; its user then has to switch both off.
func adapt(config *sarama.Config) {
	if !config.Version.IsAtLeast(sarama.V1_0_0_0) {
		config.ApiVersionsRequest = false
		config.Net.SASL.Version = sarama.SASLHandshakeV0
	}
}
