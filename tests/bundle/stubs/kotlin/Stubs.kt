// For the tests alone: what a bundle's Kotlin calls of Android, JUnit, LiteRT 2.3 and ExecuTorch 1.4, as signatures without
// anything behind them, so that its code can be compiled where none of these is at hand.
@file:Suppress("UNUSED_PARAMETER", "unused")

package stubs

fun nothing(): Nothing = throw UnsupportedOperationException("a signature only")
