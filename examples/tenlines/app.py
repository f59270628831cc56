from flask import Flask

from flask_metronome import Metronome, every

app = Flask(__name__)
metronome = Metronome(app)


@metronome.task(schedule=every(10, "seconds"))
def say_hello():
    print("hello")
