//go:build shopify

package main

import "github.com/IBM/sarama"

// negotiate: Shopify's releases never ask for the broker's versions, and log in as before Kafka 1.0.
func negotiate(*sarama.Config) {}
