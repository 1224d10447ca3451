//go:build shopify

package main

import "github.com/IBM/sarama"

// adapt: Shopify's releases never ask for the broker's versions, and log in as before Kafka 1.0. Their range strategy
// goes by hashes, so that a standby may be given the partition when it comes; the sticky one leaves it where it is.
func adapt(config *sarama.Config) {
	config.Consumer.Group.Rebalance.Strategy = sarama.BalanceStrategySticky
}
