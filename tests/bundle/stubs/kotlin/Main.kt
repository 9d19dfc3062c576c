// For the tests alone: runs the bundle's preprocessing and its codes on the JVM, where no runtime is needed.
package {{slug}}

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

fun main(words: Array<String>) {
    val (raw, values, codes) = words.map { File(it) }
    val pixels = raw.readBytes().map { (it.toInt() and 0xff).toFloat() }
    val count = LiteRTEnds.INPUTS[0].count
    val ready = pixels.chunked(count).map { preprocess(it.toFloatArray()) }
    val buffer = ByteBuffer.allocate(4 * pixels.size).order(ByteOrder.LITTLE_ENDIAN)
    ready.forEach { sample -> sample.forEach { buffer.putFloat(it) } }
    values.writeBytes(buffer.array())
    codes.writeBytes(ready.map { LiteRTEnds.INPUTS[0].bytes(it) }.reduce { one, other -> one + other })
}
